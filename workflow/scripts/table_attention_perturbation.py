"""Write T2: what is identified when attention is cut."""

from classlens.presentation import write_table
from classlens.tables import attention_perturbation

if __name__ == "__main__":
    write_table(__doc__, attention_perturbation.data, inputs=("accuracy",))
