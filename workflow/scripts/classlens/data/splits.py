"""The splits of a data set, found by their usual names if the config does not name them."""

import os
from collections.abc import Iterable
from pathlib import Path

from classlens.data.listing import IMAGE_SUFFIXES
from classlens.errors import InputError

VALIDATION = ("validation", "val", "valid", "eval", "dev")
TEST = ("test", "testing")
TRAIN = ("train", "training")
USUAL = VALIDATION + TEST + TRAIN
WHOLE = "all"
"""Name of the analysed split of a data set without splits."""
DEEPEST = 2
"""Maximum number of folders between a data set's root and the folder that contains the splits or the classes."""


def is_usual(name: str) -> bool:
    """Return whether a name is one of the usual names of splits."""
    return name.lower() in USUAL


def named(names: Iterable[str], usual: tuple[str, ...], key: str, where: Path) -> str | None:
    """Return the name among `names` that is one of the usual names, in any case, or None.

    Args:
        names: names of splits.
        usual: usual names of the split.
        key: config key that chooses the split.
        where: file or folder that contains the splits.

    Raises:
        InputError: there are several such names.
    """
    found = sorted(name for name in names if name.lower() in usual)
    if len(found) > 1:
        raise InputError(f"{where} has the splits {' and '.join(found)}: set the data set's `{key}` to one of them")
    return found[0] if found else None


def analysed(names: Iterable[str], where: Path) -> str | None:
    """Return the split to analyse: the validation split, or else the test split; None if there is neither.

    Raises:
        InputError: several names are usual for it.
    """
    names = list(names)
    return named(names, VALIDATION, "eval_split", where) or named(names, TEST, "eval_split", where)


def folders(root: Path, given: Iterable[str], masks: Path | None = None) -> dict[str, str]:
    """Return the folder of each split of an image folder, relative to its root.

    Splits lie in the root or at most two folders below it. A root (or a folder below it) that contains class folders and no splits is one
    split, `WHOLE`, with this folder.

    Args:
        root: folder of the data set.
        given: names of splits in the config, which count besides the usual names.
        masks: folder of the masks, which is left out.

    Raises:
        InputError: several folders contain splits or classes.
    """
    wanted, without = {*given}, os.path.abspath(masks) if masks else None
    level = [""]
    for _ in range(DEEPEST + 1):
        level = [folder for folder in level if not folder or os.path.abspath(root / folder) != without]
        if (home := _only("splits", root, [folder for folder in level if _has_splits(root / folder, wanted, folder == "")])) is not None:
            names = (os.path.join(home, name) for name in _inner(root / home))
            return {os.path.basename(name): name for name in names if os.path.abspath(root / name) != without}
        of_classes = [folder for folder in level if not wanted and _has_classes(root / folder)]
        if (home := _only("class folders", root, of_classes)) is not None:
            return {WHOLE: home}
        level = [os.path.join(folder, name) for folder in level for name in _inner(root / folder)]
    return {}


def _only(what: str, root: Path, found: list[str]) -> str | None:
    """Return the only folder found, or None if there is none; several are an InputError."""
    if len(found) > 1:
        raise InputError(f"{root} has {what} in {found[0]} and in {found[1]}: set the data set's `root` to one of these folders")
    return found[0] if found else None


def _has_splits(folder: Path, given: set[str], is_root: bool) -> bool:
    """Return whether a folder contains splits. Below the root, a split counts only if it contains folders of images."""
    splits = [folder / name for name in _inner(folder) if name in given or (not given and is_usual(name))]
    return bool(splits) if is_root else any(_has_images(inner) for split in splits for inner in _paths(split))


def _has_classes(folder: Path) -> bool:
    """Return whether a folder contains folders of images that are not named after splits."""
    return any(_has_images(inner) for inner in _paths(folder) if not is_usual(inner.name))


def _has_images(folder: Path) -> bool:
    """Return whether a folder directly contains an image."""
    try:
        with os.scandir(folder) as entries:
            return any(os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES for entry in entries)
    except OSError:
        return False


def _paths(folder: Path) -> list[Path]:
    return [folder / name for name in _inner(folder)]


def _inner(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones; empty if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
