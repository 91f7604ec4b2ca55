"""Whether the images of a split have masks, by file names: found while the workflow is planned, not after the first hour."""

import os
from pathlib import Path

from classlens.data.layouts import Dataset, Image
from classlens.data.listing import regular_files
from classlens.errors import InputError


def check(dataset: Dataset, split: str, images: list[Image]) -> None:
    """Raise an InputError where a split has a folder of masks and its images lack them, or masks have numbers that nothing explains.

    Args:
        dataset: where it lies.
        split: name of the split.
        images: its images.
    """
    folder = dataset.mask_folder(split)
    if folder is None:
        return
    if not dataset.binary_masks:
        dataset.category_ids(split)
    there = _masks(folder, {image.class_id for image in images}, dataset.is_nested)
    place = os.path.relpath(folder, dataset.root) + "/"
    wanted = [(image.path, image.mask_path.removeprefix(place)) for image in images if image.mask_path]
    missing = [(image, mask) for image, mask in wanted if mask not in there]
    if missing and (len(missing) == len(images) or not dataset.skip):
        every = len(missing) == len(images)
        advice = "correct the data set's `masks`, or set it to null" if every else "add them, or set on_bad_image: skip to leave them out"
        image, mask = missing[0]
        raise InputError(
            f"{len(missing)} of {len(images)} images in {dataset.home / split} have no mask, such as {image}, whose mask would be "
            f"{folder / mask}{_instead(mask, there)}: {advice}"
        )


def _masks(folder: Path, class_ids: set[str], nested: bool) -> set[str]:
    """Return the paths of all files in the class folders of a folder of masks, relative to it."""
    return {f"{class_id}/{path}" for class_id in class_ids for path in regular_files(folder / class_id, nested)}


def _instead(mask: str, there: set[str]) -> str:
    """Return a hint where a mask lies beside its place under another ending: values of a JPEG are not those that were drawn."""
    stem = os.path.splitext(mask)[0]
    other = min((path for path in there if os.path.splitext(path)[0] == stem), default=None)
    return f" (there is {other}, and masks must be PNG files, which keep their values)" if other else ""
