"""The layout of a data set whose images are listed in tables: their paths, or the names under which stored images are unpacked."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from classlens.data import listing
from classlens.data.boxes import parsed
from classlens.data.class_order import are_numbers, in_order
from classlens.data.layouts import Dataset, Image
from classlens.data.tables import Row, Tables
from classlens.errors import InputError

NO_LABEL, NO_IMAGE, NO_MASK = "without a label", "without an image file", "without a mask"
TWICE, SEVERAL = "listed twice", "of an image in several classes"


@dataclass(frozen=True, kw_only=True)
class TableDataset(Dataset):
    """A data set whose images are listed in tables.

    Args:
        tables: the tables. `root` is the folder that paths in them are relative to, or the folder of unpacked images.
    """

    tables: Tables

    def folder(self, split: str) -> Path:
        """Return the place that error messages about a split name: its table."""
        return self.tables.place

    def mask_folder(self, split: str) -> Path | None:
        """Return the folder of the masks, or None if the images have none."""
        return self.root if any(image.mask_path for image, _ in self._usable(split)[0]) else None

    def class_folders(self, split: str) -> list[str]:
        """Return the labels of a split, in text order."""
        return sorted({row.label for row in self.tables.rows(split) if row.label is not None})

    def given_order(self, split: str) -> list[str] | None:
        """Return the classes in the order of their integer labels, or None if labels are names that the tables do not number."""
        if (given := self.tables.given_classes()) is not None:
            return given
        labels = {label for name in self.class_splits or (split,) for label in self.class_folders(name)}
        return in_order(labels, None) if are_numbers(labels) else None

    def left_out(self, split: str) -> list[tuple[int, str, str]]:
        """Return (number of rows, reason, first row) of the rows that are left out of a split."""
        return listing.counted(self._usable(split)[1])

    def parts(self, split: str, per_class: int | None) -> Iterator[list[Image]]:
        """Yield the first `per_class` images (None: all) of each class of a split, in the order of the table, in one part.

        Raises:
            InputError: the table cannot be used, or a class has too few images.
        """
        yield [image for image, _ in self.chosen(split, per_class)]

    def chosen(self, split: str, per_class: int | None) -> list[tuple[Image, Row]]:
        """Return the same as `images`, with the row of each image."""
        usable, left_out = self._usable(split)
        if not usable:
            why = f": {left_out[0][1]} is {left_out[0][0]}" if left_out else ""
            raise InputError(f"{self.tables.place} lists no usable image of the split {split}{why}")
        counts = Counter(image.class_id for image, _ in usable)
        small = {class_id for class_id, count in counts.items() if per_class is not None and count < per_class}
        if small and not self._skips_small_classes:
            label = min(small)
            raise InputError(
                f"{self.tables.place} lists {counts[label]} images of the class {label} in split {split}, but the config needs "
                f"{per_class}: set images_per_class (probe split: probe_images_per_class) to a smaller number, or null for all; or set "
                "on_bad_image: skip to leave such classes out"
            )
        seen: Counter[str] = Counter()
        found = []
        for image, row in usable:
            seen[image.class_id] += 1
            if image.class_id not in small and (per_class is None or seen[image.class_id] <= per_class):
                found.append((image, row))
        return found

    @cached_property
    def _known(self) -> dict[str, tuple[list[tuple[Image, Row]], list[tuple[str, str]]]]:
        return {}

    def _usable(self, split: str) -> tuple[list[tuple[Image, Row]], list[tuple[str, str]]]:
        """Return the usable images of a split with their rows, and (reason, row) of the other rows.

        Raises:
            InputError: a row is not usable, unless such rows may be left out.
        """
        if split not in self._known:
            found = self._of_stored(split) if self.tables.stores_masks or self.tables.stores_images else self._of_files(split)
            usable = [(image, row) for image, row in found if isinstance(image, Image)]
            left_out = [(image, os.path.basename(row.place)) for image, row in found if isinstance(image, str)]
            if left_out and not self.skip:
                number, why, place = listing.counted(left_out)[0]
                raise InputError(
                    f"{self.tables.place}: {number} of {len(found)} rows are {why}, such as {place}{self._hint(found, why)}: correct them, "
                    "or set on_bad_image: skip to leave them out"
                )
            self._known[split] = usable, left_out
        return self._known[split]

    def _hint(self, found: list[tuple[Image | str, Row]], why: str) -> str:
        row = next(row for image, row in found if image == why)
        return f" ({row.image}, looked for in {self.root}; the data set's `images` sets another folder)" if why == NO_IMAGE else ""

    def _of_stored(self, split: str) -> list[tuple[Image | str, Row]]:
        """Return the image of each row whose table stores images, under the name that it is unpacked to."""
        return [(NO_LABEL if row.label is None else self._stored(row, split), row) for row in self.tables.rows(split)]

    def _stored(self, row: Row, split: str) -> Image:
        suffix = os.path.splitext(row.image or "")[1].lower()
        path = f"{split}/{row.number:06d}{suffix if suffix in listing.IMAGE_SUFFIXES else ''}"
        mask = f"{split}/masks/{row.number:06d}.png" if self.tables.stores_masks else None
        return Image(str(row.label), path, mask, parsed(row.box, row.place))

    def _of_files(self, split: str) -> list[tuple[Image | str, Row]]:
        """Return the image of each row, or why there is none."""
        files, rows = _Files(), self.tables.rows(split)
        paths = [self._path(row, split, files) for row in rows]
        labels: dict[str, set[str | None]] = {}
        for path, row in zip(paths, rows, strict=True):
            labels.setdefault(path or "", set()).update({row.label} - {None})
        masks = [self._mask(path, row, files) if path else None for path, row in zip(paths, rows, strict=True)]
        needs_mask, seen = any(masks), set[str]()
        found: list[tuple[Image | str, Row]] = []
        for path, mask, row in zip(paths, masks, rows, strict=True):
            why = _why_not(row, path, labels[path or ""], path in seen)
            why = why or (NO_MASK if needs_mask and mask is None else None)
            found.append((why or Image(str(row.label), str(path), mask, parsed(row.box, row.place)), row))
            seen.add(path or "")
        return found

    def _path(self, row: Row, split: str, files: "_Files") -> str | None:
        """Return the path of a row's image, relative to the root if it lies there; None if there is no such file."""
        if row.image is None:
            return None
        folders = (row.folder, self.root, os.path.join(self.root, split)) if self._is_beside else (self.root,)
        path = files.find(row.image, (os.path.join(folder, row.image) for folder in folders), listing.IMAGE_SUFFIXES)
        return path and self._placed(path, row)

    @cached_property
    def _is_beside(self) -> bool:
        """Whether the images lie beside their tables."""
        return self.root == self.tables.folder

    def _placed(self, path: str, row: Row) -> str:
        """Return a path relative to the root, or unchanged if the table gives a path elsewhere.

        Raises:
            InputError: a relative path leads out of the root.
        """
        if path.startswith(self._prefix):
            return path.removeprefix(self._prefix)
        inside = os.path.relpath(path, self.root)
        if inside != os.pardir and not inside.startswith(f"{os.pardir}/"):
            return inside
        if not os.path.isabs(row.image or ""):
            raise InputError(f"{row.place}: the path {row.image} leads out of {self.root}: set the data set's `images` to a folder above")
        return path

    @cached_property
    def _prefix(self) -> str:
        """The start of normal paths in the root."""
        return f"{os.path.normpath(self.root)}/"

    def _mask(self, path: str, row: Row, files: "_Files") -> str | None:
        """Return the path of an image's mask relative to the root, or None if it has none."""
        if self.masks is None and row.mask is None:
            return None
        if row.mask is not None:
            folders = [self.masks] if self.masks else [row.folder, self.root]
            places = [os.path.join(folder, row.mask) for folder in folders]
        else:
            stem = os.path.splitext(path)[0]
            places = [f"{self.masks}/{stem.lstrip('/')}.png", f"{self.masks}/{os.path.basename(stem)}.png"]
        found = files.find(places[0], places, frozenset())
        return found and os.path.relpath(found, self.root)


def _why_not(row: Row, path: str | None, labels: set[str | None], is_known: bool) -> str | None:
    if row.label is None:
        return NO_LABEL
    if path is None:
        return NO_IMAGE
    if len(labels) > 1:
        return SEVERAL
    return TWICE if is_known else None


class _Files:
    """Files by folder. Each folder is read once, because a table may list a million files."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str, places: Iterable[str], endings: frozenset[str]) -> str | None:
        """Return the first of some paths that exists, also with one of the endings; None if there is none.

        Args:
            name: the name in the table, for error messages.
            places: the paths.
            endings: endings that may be missing in the paths.

        Raises:
            InputError: several endings fit.
        """
        for path in map(os.path.normpath, places):
            folder, last = os.path.split(path)
            if last in self._in(folder):
                return path
            found = [other for other in self._of_stem(folder, last) if os.path.splitext(other)[1].lower() in endings]
            if len(found) > 1:
                raise InputError(f"{folder} has {found[0]} and {found[1]}, and a table lists {name}: write the ending in the table")
            if found:
                return os.path.join(folder, found[0])
        return None

    def _in(self, folder: str) -> set[str]:
        if folder not in self._names:
            self._names[folder] = set(_regular(folder))
        return self._names[folder]

    def _of_stem(self, folder: str, stem: str) -> list[str]:
        if folder not in self._stems:
            self._stems[folder] = {}
            for name in sorted(self._in(folder)):
                self._stems[folder].setdefault(os.path.splitext(name)[0], []).append(name)
        return self._stems[folder].get(stem, [])


def _regular(folder: str) -> Iterator[str]:
    """Yield the names of the files in a folder; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # a path with a zero byte is no folder
        return
