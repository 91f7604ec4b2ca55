"""The ideas of the paper, one module each: what is measured, per image, from the files of one model."""
