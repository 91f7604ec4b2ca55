"""Write T5: the classes that the most aligned memories of each layer stand for."""

from classlens.presentation import write_table
from classlens.tables import interpretable_values

if __name__ == "__main__":
    write_table(__doc__, interpretable_values.data)
