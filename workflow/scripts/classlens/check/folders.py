"""The splits and classes of an image folder, found by the names and contents of its folders."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from classlens.data import splits
from classlens.data.layouts import Dataset
from classlens.errors import InputError


@dataclass(frozen=True)
class Folders:
    """An image folder.

    Attributes:
        root: the folder.
        places: folder of each split, relative to the root.
        analysed: the split to analyse.
        fitted: the split for linear probes, or None.
    """

    root: Path
    places: dict[str, str]
    analysed: str
    fitted: str | None

    @property
    def is_split(self) -> bool:
        """Return whether the folder has splits. A folder without them is one split, of which only the classes are folders."""
        return self.analysed != splits.WHOLE

    @cached_property
    def dataset(self) -> Dataset:
        """The layout of the folder."""
        return Dataset("imagefolder", self.root, folders=self.places)

    @property
    def classes(self) -> list[str]:
        """The class folders of the analysed split, in text order."""
        return self.dataset.class_folders(self.analysed)

    def fewest(self, split: str) -> int:
        """Return the number of images in the smallest class of a split."""
        return min(len(self.dataset.listing(split, class_id).images) for class_id in self.dataset.class_folders(split))

    @property
    def masks(self) -> Path | None:
        """The folder of the masks, if the analysed split has some in the usual place."""
        return self.root / "masks" if (self.root / "masks" / self.analysed).is_dir() else None


def find(folder: Path) -> Folders:
    """Return the splits of a folder, which contains either splits or the class folders of one split.

    Raises:
        InputError: the folder does not exist or contains no class folders, or no split has a usual name.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist: give a folder that holds class folders, or splits with class folders")
    places = _places(folder)
    if not places:
        raise InputError(
            f"image folder {folder} holds no class folders with images: expected {folder}/CLASS/IMAGE.jpg or SPLIT/CLASS/IMAGE.jpg"
        )
    if splits.WHOLE in places and splits.is_usual(folder.name) and folder.name in (around := _places(folder.parent)):
        return _of_split(folder.parent, around, folder.name)
    analysed = splits.WHOLE if splits.WHOLE in places else splits.analysed(places, folder)
    if analysed is None:
        raise InputError(f"image folder {folder} holds the splits {', '.join(places)}: give the folder of the one to analyse")
    home = folder / (places[analysed] if analysed == splits.WHOLE else os.path.dirname(places[analysed]))
    return _of_split(home, _places(home), analysed)


def _places(folder: Path) -> dict[str, str]:
    return splits.folders(folder, (), folder / "masks")


def _of_split(root: Path, places: dict[str, str], analysed: str) -> Folders:
    """Return the folders of which one split is analysed."""
    others = [name for name in places if name != analysed]
    fitted = splits.named(others, splits.TEST, "probe_split", root) or splits.named(others, splits.TRAIN, "probe_split", root)
    return Folders(root, places, analysed, fitted)
