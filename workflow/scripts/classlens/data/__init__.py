"""Data sets: layouts on disk, classes and their order, images and masks, and what models are given of them."""
