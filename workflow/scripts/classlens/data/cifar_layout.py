"""The official Python archives of CIFAR-10 and CIFAR-100: their file names and numbers of images, known without reading them.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from dataclasses import dataclass
from pathlib import Path

from classlens.errors import InputError


@dataclass(frozen=True)
class Archive:
    """An official archive.

    Attributes:
        folder: name of its folder.
        batches: names of the files with the images of each split.
        names: name of the file with the class names.
        labels: key of the labels in a file of images.
        label_names: key of the class names in their file.
        classes: number of classes.
        per_class: number of images per class in each split.
    """

    folder: str
    batches: dict[str, list[str]]
    names: str
    labels: str
    label_names: str
    classes: int
    per_class: dict[str, int]

    def home(self, root: Path) -> Path | None:
        """Return the archive's folder, which is `root` or a folder in it, or None if there is no archive."""
        return next((folder for folder in (root, root / self.folder) if (folder / self.names).is_file()), None)

    def files(self, root: Path) -> list[Path]:
        """Return all files of the archive, or an empty list if there is no archive."""
        home = self.home(root)
        return [home / name for names in (*self.batches.values(), [self.names]) for name in names] if home else []

    def count(self, split: str, per_class: int | None) -> int:
        """Return the number of images in a split, limited to `per_class` images of each class (None: all).

        Raises:
            InputError: the archive has no such split, or fewer images per class.
        """
        if split not in self.per_class:
            raise InputError(f"{self.folder} has no split {split!r}: its splits are {', '.join(self.per_class)}")
        held = self.per_class[split]
        if per_class is not None and per_class > held:
            raise InputError(
                f"{self.folder} has {held} images of each class in {split}, but the config needs {per_class}: "
                "lower images_per_class (probe split: probe_images_per_class)"
            )
        return self.classes * (held if per_class is None else per_class)


ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-batches-py",
        {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
        "batches.meta",
        "labels",
        "label_names",
        10,
        {"train": 5000, "test": 1000},
    ),
    "cifar100": Archive(
        "cifar-100-python",
        {"train": ["train"], "test": ["test"]},
        "meta",
        "fine_labels",
        "fine_label_names",
        100,
        {"train": 500, "test": 100},
    ),
}
