"""Data sets: layouts on disk, classes and their order, images and masks, and the input of models."""
