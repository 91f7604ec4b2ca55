"""Write T6: areas under the deletion curves of every relevance map."""

from classlens.presentation import write_table
from classlens.tables import deletion_area

if __name__ == "__main__":
    write_table(__doc__, deletion_area.data)
