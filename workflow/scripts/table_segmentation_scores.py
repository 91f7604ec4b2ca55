"""Write T7: how well each relevance map finds the object."""

from classlens.presentation import write_table
from classlens.tables import segmentation_scores

if __name__ == "__main__":
    write_table(__doc__, segmentation_scores.data)
