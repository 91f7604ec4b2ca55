"""Write T1: identifiability rate, images with at least one identifiable token, and accuracy of every model."""

from classlens.presentation import write_table
from classlens.tables import identifiability

if __name__ == "__main__":
    write_table(__doc__, identifiability.data, inputs=("predictions",))
