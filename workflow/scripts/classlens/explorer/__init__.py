"""The explorer: a static page that shows a run's tables image by image.

`tables` reads the tables of a model, and `series` the numbers of all its images over blocks. `choice` picks the images that are shown of a
larger data set, and `stories` those that show something at one look. `payload` packs numbers into files that a page opened from disk can
load, `model_files` writes the files of a model, and `page` makes the page that shows them.
"""
