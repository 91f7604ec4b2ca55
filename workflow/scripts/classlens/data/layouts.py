"""Layouts of data sets: the images of a split in their order, and the paths of their masks.

This module opens no image, so that the workflow can plan shards before its first job. `manifest` checks the content of images. There are
three layouts:

- `imagenet_s`: `root/ImageNetS{subset}/{split}/{class}/*`, masks in `{split}-segmentation`, `{split}_stim_info.csv` beside them.
- `shapes`: the generated demo, written in the layout of `imagenet_s`.
- `imagefolder`: `root/{split}/{class}/**`, masks (optional) in `masks/{split}/{class}/**/{name}.png`.

`table_layout` adds the layout of images that are listed in tables.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from classlens.data import listing, splits
from classlens.data.boxes import Box
from classlens.data.class_order import is_plain
from classlens.data.listing import Listing
from classlens.data.splits import WHOLE
from classlens.data.text_files import read_text
from classlens.errors import InputError
from classlens.protocol import CORRECTED, Protocol

# Five pairs of ImageNet-S classes. The published study merged each pair into one object, and therefore left these classes out.
MERGED_CLASSES = frozenset(
    ["n04356056", "n04355933", "n04493381", "n02808440", "n03642806", "n03832673", "n04008634", "n03773504", "n03887697", "n15075141"]
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a split: its class folder's name or label, the paths of image and mask relative to the data set's root, and its boxes."""

    class_id: str
    path: str
    mask_path: str | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """The location and layout of a data set, and the rules by which its images are chosen.

    Args:
        kind: `shapes`, `imagenet_s` or `imagefolder`.
        root: folder that contains the data set.
        subset: number of classes of an ImageNet-S layout.
        classes: for an image folder, the source of class indices: None for the order of the folder names, `imagenet` if folder names begin
            with an ImageNet id (n01440764), or a text file with one folder name per line.
        class_order: without `classes`, the order of the folder names: `torchvision`, `timm`, or None for natural order, the default.
        class_splits: without `classes`, the splits that share one list of classes. Each split must have the classes of the next one, so
            that the first split has all classes. Empty for a split with its own list.
        folders: folder of each split relative to `home`, for splits whose folder has another name or place.
        masks: folder of the masks; None for the layout's default folder, and for an image folder without masks.
        mask_root: folder of masks that the workflow made (`made_masks`), to which their paths are relative; None for the data set's own.
        names: file with class names for people; None for the words of ImageNet ids, and for class ids with spaces.
        skip: leave out bad images and classes with too few images instead of raising an error.
        protocol: defines the order of images and the treatment of small classes.
    """

    kind: str
    root: Path
    subset: int = 919
    classes: str | None = None
    class_order: str | None = None
    class_splits: tuple[str, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)
    masks: Path | None = None
    mask_root: Path | None = None
    names: Path | None = None
    skip: bool = False
    protocol: Protocol = field(default=CORRECTED)

    @property
    def has_imagenet_s_layout(self) -> bool:
        """Return whether the files lie as those of ImageNet-S do."""
        return self.kind in ("imagenet_s", "shapes")

    @property
    def home(self) -> Path:
        """The folder that contains the splits."""
        return self.root / f"ImageNetS{self.subset}" if self.has_imagenet_s_layout else self.root

    @property
    def binary_masks(self) -> bool:
        """Whether masks mark only the object, instead of coding class ids as R + 256 G."""
        return not self.has_imagenet_s_layout and self.mask_root is None

    def folder(self, split: str) -> Path:
        """Return the folder of a split."""
        return self.home / self.folders.get(split, split)

    def given_order(self, split: str) -> list[str] | None:
        """Return the classes in the order that the data set itself gives them, or None."""
        return self.category_ids(split) if self.kind == "shapes" else None

    def mask_folder(self, split: str) -> Path | None:
        """Return the folder of a split's masks, or None if the split has no masks.

        Raises:
            InputError: `masks` names a folder that does not exist.
        """
        if self.kind == "imagefolder":
            if self.masks is None:
                return None
            if not os.path.isdir(self.masks):
                raise InputError(f"masks folder {self.masks} does not exist: correct the data set's `masks`, or set it to null")
            folder = self.masks / split
            if split == WHOLE and not os.path.isdir(folder):
                folder = self.masks
        else:
            folder = (self.masks or self.home) / f"{split}-segmentation"
        return folder if os.path.isdir(folder) else None

    def images(self, split: str, per_class: int | None) -> list[Image]:
        """Return the first `per_class` images (None: all) of each class of a split, in the order of their numbers in results.

        Raises:
            InputError: the split or its classes are missing, a class has too few images, or two images would share a mask.
        """
        return [image for part in self.parts(split, per_class) for image in part]

    def counts(self, split: str, per_class: int | None) -> dict[str, int]:
        """Return the number of images of each class, with the same arguments and errors as `images`."""
        return dict(Counter(image.class_id for part in self.parts(split, per_class) for image in part))

    def parts(self, split: str, per_class: int | None) -> Iterator[list[Image]]:
        """Yield the same images as `images` class by class, so that not all are in RAM at once; a list of images is one part."""
        folder = self.folder(split)
        if not os.path.isdir(folder):  # Path.is_dir would raise an error if permissions are missing
            raise InputError(self._no_folder(folder))
        masks = self.mask_folder(split)
        place, mask_place = os.path.relpath(folder, self.root), os.path.relpath(masks, self.root) if masks else None
        is_empty = True
        for rows in self._rows(split):
            names: dict[str, list[str]] = {}
            for class_id, name in rows:
                if self.kind != "imagenet_s" or class_id not in MERGED_CLASSES:
                    names.setdefault(class_id, []).append(name)
            if self.is_nested and "images" in names and len(self.class_folders(split)) == 1:  # Tiny ImageNet
                raise InputError(
                    f"{folder} has images in one folder, and no class folders: use kind: table with the file that lists the classes"
                )
            chosen = {class_id: set(self._chosen(folder / class_id, images, per_class)) for class_id, images in names.items()}
            if masks:
                _check_stems(folder, names)
            is_empty = is_empty and not names
            homes = {class_id: _home(place, class_id) for class_id in names}
            mask_homes = {class_id: _home(mask_place, class_id) for class_id in names} if mask_place else {}
            yield [
                _image(class_id, name, homes[class_id], mask_homes.get(class_id))
                for class_id, name in rows
                if name in chosen.get(class_id, ())
            ]
        if is_empty:
            raise InputError(
                f"data set folder {folder} has no class folders with images: expected {folder}/CLASS/IMAGE.jpg{self._what_it_has(split)}"
            )

    def _what_it_has(self, split: str) -> str:
        left_out = self.left_out(split)
        return f"; it has {left_out[0][2]} ({left_out[0][1]})" if left_out else ""

    def left_out(self, split: str) -> list[tuple[int, str, str]]:
        """Return (number of files, reason, first path) of the files that are left out of a split; empty if a list names the split's images.

        Raises:
            InputError: a folder cannot be read.
        """
        if self._list_of(split):
            return []
        found = listing.beside_class_folders(self.folder(split))
        for class_id in self.class_folders(split):
            found += [(why, f"{class_id}/{path}") for why, path in self.listing(split, class_id).left_out]
        return listing.counted(found)

    def _list_of(self, split: str) -> Path | None:
        """Return the file that lists a split's images, or None. Only ImageNet-S may have such a file."""
        file = self.home / f"{split}_stim_info.csv"
        return file if self.kind == "imagenet_s" and file.is_file() else None

    def _rows(self, split: str) -> Iterator[list[tuple[str, str]]]:
        """Yield (class folder, path in it) of the images of each class, or of all images if a file lists them."""
        if file := self._list_of(split):
            yield _listed_rows(file, self.folder(split))
            return
        empty, filled = [], False
        for class_id in self.class_folders(split):
            names = self._found(split, class_id)
            filled = filled or bool(names)
            if names:
                yield [(class_id, name) for name in names]
            else:
                empty.append(class_id)
        if empty and filled and not self._skips_small_classes:
            raise InputError(
                f"class folder {self.folder(split) / empty[0]} has no images: add some, remove it, or set on_bad_image: skip to leave such "
                "classes out"
            )

    def _found(self, split: str, class_id: str) -> list[str]:
        """Return the paths of the images in a class folder, in order."""
        found = self.listing(split, class_id)
        for why, path in found.left_out:
            if why in listing.FAULTS and not self.skip:
                raise InputError(f"{self.folder(split) / class_id / path} is {why}: replace it, or set on_bad_image: skip to leave it out")
        return found.images if self.protocol.directory_order else sorted(found.images)

    def listing(self, split: str, class_id: str) -> Listing:
        """Return the content of a class folder.

        Raises:
            InputError: a folder cannot be read.
        """
        return Listing.of(self.folder(split) / class_id, self.is_nested)

    @property
    def is_nested(self) -> bool:
        """Whether class folders may hold folders of images."""
        return self.kind == "imagefolder"

    @property
    def _skips_small_classes(self) -> bool:
        return self.skip or self.protocol.skip_small_classes

    def _chosen(self, folder: Path, names: list[str], per_class: int | None) -> list[str]:
        if per_class is None or len(names) >= per_class:
            return names[:per_class]
        if self._skips_small_classes:
            return []
        raise InputError(
            f"class folder {folder} has {len(names)} images, but the config needs {per_class}: set images_per_class (probe split: "
            "probe_images_per_class) to a smaller number, or null for all; add images; or set on_bad_image: skip to leave these classes out"
        )

    def _no_folder(self, folder: Path) -> str:
        """Return the message for a split whose folder does not exist."""
        if os.path.exists(folder):
            return f"{folder} is not a folder: it must contain the split's class folders"
        missing = f"data set folder {folder} does not exist"
        if not os.path.isdir(self.home):
            return f"{missing}: set the data set's `root` to the folder that contains {folder.relative_to(self.root)}"
        there = listing.class_folders(self.home)
        if self.home == self.root and splits.is_usual(self.root.name) and not any(map(splits.is_usual, there)):
            return f"{missing}: {self.root} is itself a split: set the data set's `root` to {self.root.parent}"
        shown = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "")
        root = ", and `root` to the folder above it" if self.home == self.root else ""
        return (
            f"{missing}; {self.home} holds {shown or 'no folders'}: set the data set's `eval_split` (`train_split`, "
            f"`probe_split`) to the name of the folder that contains the class folders{root}"
        )

    def class_folders(self, split: str) -> list[str]:
        """Return the names of a split's class folders, in text order.

        Raises:
            InputError: the split's folder cannot be read, or a folder in it cannot be a class.
        """
        if not os.path.isdir(self.folder(split)):
            raise InputError(self._no_folder(self.folder(split)))
        names = listing.class_folders(self.folder(split))
        return [name for name in names if not self.masks or os.path.abspath(self.folder(split) / name) != os.path.abspath(self.masks)]

    def _category_file(self) -> Path:
        return self.root / "data" / "categories" / f"ImageNetS_categories_im{self.subset}.txt"

    def class_files(self) -> list[Path]:
        """Return the files that define class indices or class ids in masks. They need not exist."""
        if self.has_imagenet_s_layout:
            return [self._category_file()]
        return [Path(self.classes)] if self.classes not in (None, "imagenet") else []

    def category_ids(self, split: str) -> list[str]:
        """Return the class ids in the order of their numbers in masks, which start at 1 (ImageNet-S layout).

        Raises:
            InputError: the category file, or without one the split's folder, has a wrong number of classes.
        """
        file = self._category_file()
        if file.is_file():
            return self._listed_categories(file)
        folders = self.class_folders(split)
        if len(folders) == self.subset:
            return folders
        raise InputError(
            f"{self.folder(split)} has {len(folders)} class folders, not {self.subset}: "
            f"mask ids need {file}, which comes with ImageNet-S, or all class folders"
        )

    def _listed_categories(self, file: Path) -> list[str]:
        ids = read_text(file).split()
        if len(ids) != self.subset or len(set(ids)) != self.subset:
            raise InputError(f"{file} lists {len(set(ids))} different classes on {len(ids)} lines, not {self.subset}: get the file again")
        return ids


def _home(place: str, class_id: str) -> str:
    """Return the start of the paths of a class's images or masks."""
    home = os.path.normpath(os.path.join(place, class_id))
    return f"{home}/"


def _image(class_id: str, name: str, home: str, mask_home: str | None) -> Image:
    return Image(class_id, home + name, f"{mask_home}{os.path.splitext(name)[0]}.png" if mask_home else None)


def _check_stems(folder: Path, names: dict[str, list[str]]) -> None:
    """Raise an InputError if two images differ only in their ending: they would share a mask, or one is the mask of the other."""
    for class_id, images in names.items():
        seen: dict[str, str] = {}
        for name in images:
            other = seen.setdefault(os.path.splitext(name)[0], name)
            if other != name:
                raise InputError(
                    f"class folder {folder / class_id} has {other} and {name}, which would share a mask: rename one, or keep masks in a "
                    "separate folder"
                )


def imagenet_id(folder: str) -> str | None:
    """Return the ImageNet id at the start of a folder's name (`n02123045` of `n02123045_tabby`), or None if there is none."""
    match = re.match(r"n\d{8}(?!\d)", folder)
    return match[0] if match else None


def _listed_rows(info: Path, folder: Path) -> list[tuple[str, str]]:
    """Return (class id, image name) of each row of a stim_info csv (columns imagenet_id, img_name)."""
    reader = csv.DictReader(io.StringIO(read_text(info), newline=""), strict=True)
    try:
        missing = {"imagenet_id", "img_name"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{info} has no column {sorted(missing)[0]}: correct or remove it")
        rows = [(row["imagenet_id"], row["img_name"]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{info} is not valid CSV ({error}): correct or remove it") from None
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(rows, start=1):
        if not all(part and is_plain(part) for part in row):
            raise InputError(f"{info}, image {number} has no valid class folder or image name: correct or remove it")
        if row in seen:
            raise InputError(f"{info} lists {row[0]}/{row[1]} twice: correct or remove it")
        seen.add(row)
    for class_id in dict(rows):
        if not (folder / class_id).is_dir():
            raise InputError(f"{info} lists the class {class_id}, but there is no folder {folder / class_id}: complete the data set")
    return rows


SMALL_SHARD, LARGE_SHARD, USUAL_SHARDS = 512, 5000, 20


def usual_shard_size(images: int) -> int:
    """Return the default number of images per shard of a split.

    A job treats one shard, and loads its libraries first. Larger shards of large splits therefore save time, also in planning; 20 shards
    are enough for jobs in parallel, and a job of 5,000 images does not lose too much if it is killed.
    """
    return min(max(SMALL_SHARD, -(-images // USUAL_SHARDS)), LARGE_SHARD)


MOST_SHARDS = 99_999


def shard_names(images: int, shard_size: int) -> list[str]:
    """Return the names of the shards for a number of images: `00000`, `00001`...

    Raises:
        InputError: there are more shards than five digits can number.
    """
    shards = -(-images // shard_size)
    if shards > MOST_SHARDS:
        raise InputError(
            f"{images:,} images make {shards:,} shards of {shard_size}, but at most {MOST_SHARDS:,} are possible: set "
            f"hidden_states.shard_size to {-(-images // MOST_SHARDS)} or more"
        )
    return [f"{shard:05d}" for shard in range(shards)]


def files_of(images: Iterable[Image]) -> list[str]:
    """Return the paths of the files of all images and then of all masks, relative to the data set's root."""
    images = list(images)
    return [image.path for image in images] + [image.mask_path for image in images if image.mask_path]
