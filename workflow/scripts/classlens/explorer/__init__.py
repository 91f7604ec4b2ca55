"""The explorer: a static page that shows a run's tables image by image.

`tables` reads the tables of a model, `payload` packs the numbers of an image into a file that a page opened from disk can load,
`model_files` writes the files of a model, and `page` makes the page that shows them.
"""
