"""Write T4: whether sub-layers raise the class more at class than at context tokens."""

from classlens.presentation import write_table
from classlens.tables import context_difference

if __name__ == "__main__":
    write_table(__doc__, context_difference.data)
