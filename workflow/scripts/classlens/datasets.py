"""Which images a data set's split has, in which order, and where their masks are.

Only file names are looked at, never their contents, so that shards can be cut while the workflow is planned. `manifest` checks the
contents. Three layouts are known:

- `imagenet_s`: `root/ImageNetS{subset}/{split}/{class}/*`, masks in `{split}-segmentation`, `{split}_stim_info.csv` beside them.
- `shapes`: the generated demo, written in the layout of `imagenet_s`.
- `imagefolder`: `root/{split}/{class}/*`, masks (optional) in `masks/{split}/{class}/{name}.png`.
"""

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from classlens.errors import InputError, printable
from classlens.protocol import CORRECTED, Protocol

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}

# The five pairs of ImageNet-S classes that the published study merged into one object each, and therefore left out.
MERGED_CLASSES = frozenset(
    ["n04356056", "n04355933", "n04493381", "n02808440", "n03642806", "n03832673", "n04008634", "n03773504", "n03887697", "n15075141"]
)


@dataclass(frozen=True)
class Image:
    """One image of a split: its class folder's name and the paths of image and mask, relative to the data set's root."""

    class_id: str
    path: str
    mask_path: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Where a data set lies and which of its images are used.

    Args:
        kind: `shapes`, `imagenet_s` or `imagefolder`.
        root: folder that holds the data set.
        subset: number of classes of an ImageNet-S layout.
        classes: for an image folder, which index a class has: None for the order of the sorted folders, `imagenet` when folder names begin
            with an ImageNet id (n01440764), or a text file with one folder name per line.
        masks: folder of the masks, where it is not the layout's own.
        skip: leave out what cannot be used (bad images, classes with too few images) instead of raising an error.
        protocol: settles order and small classes (methods, section 11).
    """

    kind: str
    root: Path
    subset: int = 919
    classes: str | None = None
    masks: Path | None = None
    skip: bool = False
    protocol: Protocol = field(default=CORRECTED)

    @property
    def home(self) -> Path:
        """The folder that holds the splits."""
        return self.root if self.kind == "imagefolder" else self.root / f"ImageNetS{self.subset}"

    @property
    def binary_masks(self) -> bool:
        """Whether masks say only object or not, instead of R + 256 G class ids."""
        return self.kind == "imagefolder"

    def mask_folder(self, split: str) -> Path | None:
        """Folder of a split's masks, or None where it has none.

        Raises:
            InputError: `masks` names a folder that does not exist.
        """
        if self.kind == "imagefolder":
            if self.masks is None:
                return None
            if not self.masks.is_dir():
                raise InputError(f"masks folder {self.masks} does not exist: correct the data set's `masks`, or set it to null")
            folder = self.masks / split
        else:
            folder = (self.masks or self.home) / f"{split}-segmentation"
        return folder if folder.is_dir() else None

    def images(self, split: str, per_class: int | None) -> list[Image]:
        """The images of a split, the first `per_class` of each class (None: all), in the order in which results number them.

        Raises:
            InputError: the split, its classes or enough images of a class are missing.
        """
        folder = self.home / split
        if not folder.is_dir():
            raise InputError(self._no_folder(folder))
        info = self.home / f"{split}_stim_info.csv"
        rows = _listed_rows(info, folder) if self.kind == "imagenet_s" and info.is_file() else self._rows_by_folder(folder)
        names: dict[str, list[str]] = {}
        for class_id, name in rows:
            if self.kind != "imagenet_s" or class_id not in MERGED_CLASSES:
                names.setdefault(class_id, []).append(name)
        if not names:
            raise InputError(f"data set folder {folder} has no class folders with images: expected {folder}/CLASS/IMAGE.jpg")
        chosen = {class_id: set(self._chosen(folder / class_id, images, per_class)) for class_id, images in names.items()}
        masks = self.mask_folder(split)
        places = os.path.relpath(folder, self.root), os.path.relpath(masks, self.root) if masks else None
        return [_image(*places, class_id, name) for class_id, name in rows if name in chosen.get(class_id, ())]

    def _rows_by_folder(self, folder: Path) -> list[tuple[str, str]]:
        found = {class_id: list(filter(is_image, os.listdir(folder / class_id))) for class_id in self.class_folders(folder.name)}
        empty = [class_id for class_id, names in found.items() if not names]
        if empty and len(empty) < len(found) and not self._skips_small_classes:
            raise InputError(
                f"class folder {folder / empty[0]} has no images: add some, remove it, or set on_bad_image: skip to leave such classes out"
            )
        ordered = {class_id: names if self.protocol.directory_order else sorted(names) for class_id, names in found.items()}
        return [(class_id, name) for class_id, names in ordered.items() for name in names]

    @property
    def _skips_small_classes(self) -> bool:
        return self.skip or self.protocol.skip_small_classes

    def _chosen(self, folder: Path, names: list[str], per_class: int | None) -> list[str]:
        if per_class is None or len(names) >= per_class:
            return names[:per_class]
        if self._skips_small_classes:
            return []
        raise InputError(
            f"class folder {folder} has {len(names)} images and {per_class} are asked for: set images_per_class to a smaller number, or to "
            "null for all; add images; or set on_bad_image: skip to leave such classes out"
        )

    def _no_folder(self, folder: Path) -> str:
        """What to do about the folder of a split that is not there."""
        missing = f"data set folder {folder} does not exist"
        if not self.home.is_dir():
            return f"{missing}: set the data set's `root` to the folder of {folder.relative_to(self.root)}"
        there = self.class_folders("")
        shown = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
        root = ", and the one above it as `root`" if self.home == self.root else ""
        return (
            f"{missing}; {self.home} holds {shown or 'no folders'}: name the folder of class folders as the data set's `eval_split` "
            f"(`train_split`, `probe_split`){root}"
        )

    def class_folders(self, split: str) -> list[str]:
        """Sorted names of a split's class folders."""
        with os.scandir(self.home / split) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def _category_file(self) -> Path:
        return self.root / "data" / "categories" / f"ImageNetS_categories_im{self.subset}.txt"

    def class_files(self) -> list[Path]:
        """Files, which need not exist, that settle the indices of classes or their ids in masks."""
        if self.kind != "imagefolder":
            return [self._category_file()]
        return [Path(self.classes)] if self.classes not in (None, "imagenet") else []

    def category_ids(self, split: str) -> list[str]:
        """Class ids in the order in which masks number them, from 1 (ImageNet-S layout).

        Raises:
            InputError: there is no category file and the folders are not exactly the subset's classes.
        """
        file = self._category_file()
        if file.is_file():
            return file.read_text(encoding="utf-8").split()
        folders = self.class_folders(split)
        if len(folders) == self.subset:
            return folders
        raise InputError(
            f"{self.home / split} has {len(folders)} class folders, not {self.subset}: "
            f"mask ids need {file}, which comes with ImageNet-S, or all class folders"
        )

    def folder_classes(self, split: str) -> list[str]:
        """Folder names in the order of the class indices, for a data set whose classes are its own (`classes` not `imagenet`).

        Raises:
            InputError: the file that `classes` names is missing, or misses a folder of the split.
        """
        if self.classes is None:
            return self.class_folders(split)
        try:
            names = Path(self.classes).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(
                f"classes file {self.classes}: {error.strerror}; give `imagenet` or a file with a folder name per line"
            ) from None
        names = [name.strip() for name in names if name.strip()]
        missing = sorted(set(self.class_folders(split)) - set(names))
        if missing:
            raise InputError(f"classes file {self.classes} does not list the class folder {missing[0]} of {self.home / split}")
        return names


def _image(folder: str, masks: str | None, class_id: str, name: str) -> Image:
    mask = f"{masks}/{class_id}/{os.path.splitext(name)[0]}.png" if masks else None
    return Image(class_id, f"{folder}/{class_id}/{name}", mask)


def is_image(name: str) -> bool:
    """Whether a file name is that of an image, by its ending."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def imagenet_id(folder: str) -> str | None:
    """The ImageNet id at the start of a folder's name: `n02123045` of `n02123045_tabby`; None if there is none."""
    match = re.match(r"n\d{8}(?!\d)", folder)
    return match[0] if match else None


def _listed_rows(info: Path, folder: Path) -> list[tuple[str, str]]:
    """(class id, image name) of each row of a stim_info csv (columns imagenet_id, img_name)."""
    with open(info, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"imagenet_id", "img_name"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{info} has no column {sorted(missing)[0]}: correct or remove it")
        rows = [(row["imagenet_id"], row["img_name"]) for row in reader]
    for class_id, name in rows:
        if {class_id, name} & {"", ".", ".."} or "/" in class_id + name:
            raise InputError(printable(f"{info} lists {class_id}/{name}, which is no image in a class folder: correct it"))
    for class_id in dict(rows):
        if not (folder / class_id).is_dir():
            raise InputError(f"{info} lists the class {class_id}, and there is no folder {folder / class_id}: complete the data set")
    return rows


MOST_SHARDS = 99_999


def shard_names(images: int, shard_size: int) -> list[str]:
    """Return the names of the shards of so many images: `00000`, `00001`...

    Raises:
        InputError: there are more than names of five digits can number.
    """
    shards = -(-images // shard_size)
    if shards > MOST_SHARDS:
        raise InputError(
            f"{images:,} images make {shards:,} shards of {shard_size}, and {MOST_SHARDS:,} are possible: set hidden_states.shard_size to"
            f" {-(-images // MOST_SHARDS)} or more"
        )
    return [f"{shard:05d}" for shard in range(shards)]


def files_of(images: Iterable[Image]) -> list[str]:
    """Paths of every file that the images consist of, relative to the data set's root, images first, masks after them."""
    images = list(images)
    return [image.path for image in images] + [image.mask_path for image in images if image.mask_path]
