"""The explorer: a static page on which people look at a run's tables, image by image.

`tables` reads the tables of a model, `payload` packs those of an image into a file that a page opened from disk may load, `model_files`
writes the files of a model, and `page` the page that shows them.
"""
