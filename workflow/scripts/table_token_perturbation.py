"""Write T3: what is identified without the context, and without the object."""

from classlens.presentation import write_table
from classlens.tables import token_perturbation

if __name__ == "__main__":
    write_table(__doc__, token_perturbation.data, inputs=("accuracy",))
