"""The splits and classes of an image folder, found by the names and contents of its folders."""

from dataclasses import dataclass
from pathlib import Path

from classlens.data import listing
from classlens.data.layouts import Dataset
from classlens.data.listing import Listing
from classlens.errors import InputError

EVALUATED = ("validation", "valid", "val", "eval", "dev", "test", "testing")
"""Usual names of the split to analyse, the best first."""
FITTED = ("test", "testing", "train", "training")
"""Usual names of the split for linear probes, the best first."""


@dataclass(frozen=True)
class Folders:
    """An image folder.

    Attributes:
        root: folder of the splits.
        splits: names of the splits that were found.
        analysed: the split to analyse.
        fitted: the split for linear probes, or None.
    """

    root: Path
    splits: list[str]
    analysed: str
    fitted: str | None

    @property
    def classes(self) -> list[str]:
        """The class folders of the analysed split, in text order."""
        return Dataset("imagefolder", self.root).class_folders(self.analysed)

    def fewest(self, split: str) -> int:
        """Return the number of images in the smallest class of a split."""
        dataset = Dataset("imagefolder", self.root)
        return min(len(dataset.listing(split, class_id).images) for class_id in dataset.class_folders(split))

    @property
    def masks(self) -> Path | None:
        """The folder of the masks, if the analysed split has some in the usual place."""
        return self.root / "masks" if (self.root / "masks" / self.analysed).is_dir() else None


def find(folder: Path) -> Folders:
    """Return the splits of a folder, which holds either splits or the class folders of one split.

    Raises:
        InputError: the folder does not exist or holds no class folders, or several splits and none has a usual name.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist: give a folder that holds class folders, or splits with class folders")
    if _is_split(folder):
        return Folders(folder.parent, [folder.name], folder.name, None)
    splits = [name for name in listing.class_folders(folder) if name != "masks" and _is_split(folder / name)]
    if not splits:
        raise InputError(
            f"image folder {folder} holds no class folders with images: expected {folder}/CLASS/IMAGE.jpg or SPLIT/CLASS/IMAGE.jpg"
        )
    analysed = _usual(splits, EVALUATED) or (splits[0] if len(splits) == 1 else None)
    if analysed is None:
        raise InputError(f"image folder {folder} holds the splits {', '.join(splits)}: give the folder of the one to analyse")
    return Folders(folder, splits, analysed, _usual([name for name in splits if name != analysed], FITTED))


def _is_split(folder: Path) -> bool:
    return any(Listing.of(folder / name, nested=False).images for name in listing.class_folders(folder))


def _usual(splits: list[str], names: tuple[str, ...]) -> str | None:
    by_name = {split.lower(): split for split in splits}
    return next((by_name[name] for name in names if name in by_name), None)
