"""Check that the images of a split have masks, by file names, so that planning reports a missing mask before any job runs."""

import os
from pathlib import Path

from classlens.data.layouts import Dataset
from classlens.data.listing import regular_files
from classlens.errors import InputError


def check(dataset: Dataset, split: str, per_class: int | None) -> None:
    """Raise an InputError if a split has a mask folder, but its images lack masks, or nothing defines the class ids in masks.

    Args:
        dataset: the data set.
        split: name of the split.
        per_class: number of images per class; None for all.
    """
    folder = dataset.mask_folder(split)
    if folder is None:
        return
    if dataset.kind != "imagefolder":
        dataset.category_ids(split)
    place = os.path.relpath(folder, dataset.root) + "/"
    count, missing, example = 0, 0, ""
    for images in dataset.parts(split, per_class):
        there = _masks(folder, {image.class_id for image in images}, dataset.is_nested)
        wanted = [(image.path, image.mask_path.removeprefix(place)) for image in images if image.mask_path]
        lacking = [(image, mask) for image, mask in wanted if mask not in there]
        if lacking and not missing:
            image, mask = lacking[0]
            example = f"{image}, whose mask would be {folder / mask}{_instead(mask, there)}"
        count, missing = count + len(images), missing + len(lacking)
    if missing and (missing == count or not dataset.skip):
        every = missing == count
        advice = "correct the data set's `masks`, or set it to null" if every else "add them, or set on_bad_image: skip to leave them out"
        raise InputError(f"{missing} of {count} images in {dataset.folder(split)} have no mask, such as {example}: {advice}")


def _masks(folder: Path, class_ids: set[str], nested: bool) -> set[str]:
    """Return the paths of all files in the class folders of a mask folder, relative to the mask folder."""
    return {f"{class_id}/{path}" for class_id in class_ids for path in regular_files(folder / class_id, nested)}


def _instead(mask: str, there: set[str]) -> str:
    """Return a hint if a mask has another ending than .png, or an empty string. A JPEG, for example, does not keep pixel values."""
    stem = os.path.splitext(mask)[0]
    other = min((path for path in there if os.path.splitext(path)[0] == stem), default=None)
    return f" (there is {other}, but masks must be PNG files, which keep pixel values)" if other else ""
