"""The analyses of the paper. Each module computes measures per image from the files of one model."""
