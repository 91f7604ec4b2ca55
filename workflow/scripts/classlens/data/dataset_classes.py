"""The classes of a data set with their indices, in one list for all splits of a run."""

import os
from itertools import pairwise

from classlens.data.class_order import (
    ClassOrder,
    check_distinct,
    first_difference,
    in_order,
    lacking,
    listed_difference,
    normal,
    read_names,
)
from classlens.data.layouts import Dataset
from classlens.errors import InputError

TIMM_SUFFIXES = {".png", ".jpg", ".jpeg"}
"""Endings of images for timm's reader, which ignores a class folder without such images."""


def class_ids(dataset: Dataset, split: str) -> list[str]:
    """Return the class ids of a data set with its own classes (not `classes: imagenet`), in the order of their indices.

    Args:
        dataset: the data set.
        split: the only split to look at, if the data set has no `class_splits`.

    Raises:
        InputError: the `classes` file cannot be used or lacks a folder, or a split has a class that the split before it lacks.
    """
    if dataset.kind == "shapes":
        return dataset.category_ids(split)
    folders = {name: dataset.class_folders(name) for name in dataset.class_splits or (split,)}
    for name, found in folders.items():
        check_distinct(found, dataset.home / name)
    return _listed(dataset, dataset.classes, folders) if dataset.classes else _from_folders(dataset, folders)


def _listed(dataset: Dataset, file: str, folders: dict[str, list[str]]) -> list[str]:
    """Return the classes in a file, spelled as their folders are."""
    names = read_names(file)
    for split, found in folders.items():
        if (missing := lacking(names, found)) is not None:
            hint = listed_difference(names, missing)
            raise InputError(f"classes file {file} does not list the class folder {missing} of {dataset.home / split}{hint}: add it")
    spelling = {normal(name): name for found in reversed(folders.values()) for name in found}
    return [spelling.get(normal(name), name) for name in names]


def _from_folders(dataset: Dataset, folders: dict[str, list[str]]) -> list[str]:
    """Return the class folders of the first split in order. Each split must have the class folders of the next one."""
    for first, second in pairwise(folders):
        if (missing := lacking(folders[first], folders[second])) is not None:
            raise InputError(
                f"split {second} of {dataset.home} has the class folder {missing}, which split {first} lacks: add it to {first}, remove it "
                f"from {second}, or list the classes of all splits in a file (`classes`)"
            )
    reference = next(iter(folders))
    if dataset.class_order == "timm":
        _check_as_timm(dataset, reference, folders[reference])
    return in_order(folders[reference], dataset.class_order)


def _check_as_timm(dataset: Dataset, split: str, folders: list[str]) -> None:
    """Raise an InputError if timm's reader would find classes that differ from the folders of a split."""
    advice = "list the classes in a file (`classes`) instead of setting `class_order`"
    for class_id in folders:
        images, folder = sorted(dataset.listing(split, class_id).images), dataset.home / split / class_id
        if inner := next((path for path in images if "/" in path), None):
            raise InputError(f"timm names classes after innermost folders, and {folder} holds {inner}: {advice}")
        if not any(os.path.splitext(name)[1].lower() in TIMM_SUFFIXES for name in images):
            raise InputError(f"timm does not count {folder} as a class, because it holds no .png, .jpg or .jpeg: {advice}")


def order_of(dataset: Dataset, ids: list[str]) -> ClassOrder:
    """Return the source of the class indices.

    Args:
        dataset: the data set.
        ids: the classes in the order of their indices.
    """
    if dataset.kind == "imagenet_s" or dataset.classes == "imagenet":
        return ClassOrder("imagenet")
    if dataset.kind == "shapes" or dataset.classes:
        return ClassOrder("list")
    if dataset.class_order:
        return ClassOrder(dataset.class_order)
    return ClassOrder("natural", first_difference(ids))
