"""Tables that list the images of a data set: their files, the splits in them, and the image, label, mask and box of each row."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from classlens.data import splits
from classlens.data.table_files import Column, TableFile, usual
from classlens.errors import InputError

LONGEST_LABEL = 200
"""Maximum number of characters of a label."""
_IMAGE = "image img path file filename file_name filepath file_path image_path img_path image_name img_name image_file image_filename"
_LABEL = "label labels class class_name classname class_label class_id category category_name target fine_label breed species"
USUAL_NAMES: dict[str, tuple[list[str], ...]] = {
    "image": (_IMAGE.split(), ["id", "image_id", "img_id", "name"]),
    "label": (_LABEL.split(),),
    "split": (["split", "subset", "partition"],),
    "mask": (["mask", "mask_path", "mask_file", "segmentation", "segmentation_path"],),
    "box": (["box", "bbox", "bounding_box"],),
}
"""Usual names of each column. Names of a second group count only if the table has none of the first."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that the config names; None for those to find by their usual names."""

    image: Column | None = None
    label: Column | None = None
    split: Column | None = None
    mask: Column | None = None
    box: Column | list[Column] | None = None

    @property
    def has_header(self) -> bool:
        """Whether text files begin with the names of columns, which is so unless the config gives positions."""
        return not any(isinstance(column, int) for column in (self.image, self.label))


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        number: number of the row in the files of its split, from 0.
        place: file and number of the row, for error messages.
        folder: folder of the file.
        image: path of the image, or for an image in the table its name or None.
        label: the label as text, or None if the row has none.
        mask: path of the mask, or None.
        box: content of the box's columns.
    """

    number: int
    place: str
    folder: Path
    image: str | None
    label: str | None
    mask: str | None = None
    box: Any = None


class Tables:
    """The tables of a data set.

    Args:
        place: a table, or the folder of tables that are named after their splits.
        columns: columns that the config names.
        with_boxes: whether to read boxes.
    """

    def __init__(self, place: Path, columns: Columns, with_boxes: bool = False):
        self.place, self.columns, self._with_boxes = place, columns, with_boxes
        self._rows: dict[str, list[Row]] = {}

    @cached_property
    def folder(self) -> Path:
        """The folder of the tables."""
        return self.place if os.path.isdir(self.place) else self.place.parent

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """The files of each split; one entry `""` if file names do not tell the split.

        Raises:
            InputError: there is no table, or several that no split is named after.
        """
        if not os.path.exists(self.place):
            raise InputError(f"{self.place} does not exist: set the data set's `root` to its table, or to the folder of its tables")
        if not os.path.isdir(self.place):
            return {"": [self.place]}
        found = sorted(self._found())
        by_split: dict[str, list[Path]] = {}
        for path in found:
            by_split.setdefault(_split_of(path, self.place), []).append(path)
        named = {split: files for split, files in by_split.items() if split.lower() in splits.USUAL}
        if named or not found:
            return named or self._none()
        if len(by_split) == 1:
            return {"": found}
        some = " and ".join(str(path.relative_to(self.place)) for path in [files[0] for files in by_split.values()][:2])
        raise InputError(f"{self.place} has several tables ({some}), and none is named after a split: set the data set's `root` to one")

    def _found(self) -> Iterator[Path]:
        for folder, inner, names in os.walk(self.place):
            inner[:] = [name for name in inner if not name.startswith(".")]
            if len(Path(folder).relative_to(self.place).parts) >= splits.DEEPEST:
                inner.clear()
            yield from (Path(folder, name) for name in names if Path(name).suffix in (".csv", ".tsv", ".jsonl", ".parquet"))

    def _none(self) -> dict[str, list[Path]]:
        raise InputError(
            f"{self.place} has no table (.csv, .tsv, .jsonl or .parquet): set the data set's `root` to the folder of its tables"
        )

    @cached_property
    def _open(self) -> dict[Path, TableFile]:
        return {path: TableFile.open(path, self.columns.has_header) for files in self.files.values() for path in files}

    @cached_property
    def split_names(self) -> list[str]:
        """The names of the splits, or an empty list for a table without splits."""
        if "" not in self.files:
            return list(self.files)
        return list(dict.fromkeys(split for file in self._open.values() for split in self._splits_in(file) if split))

    def _splits_in(self, file: TableFile) -> list[str]:
        column = self._column(file, "split")
        return [] if column is None else [_text(value) or "" for value in file.read(column)]

    @cached_property
    def stores_images(self) -> bool:
        """Whether the tables contain the bytes of the images, instead of paths."""
        return any(self._column(file, "image") in file.stored for file in self._open.values())

    @cached_property
    def stores_masks(self) -> bool:
        """Whether the tables contain the bytes of masks.

        Raises:
            InputError: they do, but contain only the paths of the images.
        """
        found = any(self._column(file, "mask") in file.stored for file in self._open.values())
        if found and not self.stores_images:
            raise InputError(f"{self.place} stores masks, but only the paths of images: store both, or neither")
        return found

    def given_classes(self) -> list[str] | None:
        """Return the class names that the tables themselves list in the order of their integer labels, or None."""
        columns = [(file, self._column(file, "label")) for file in self._open.values()]
        lists = [file.classes.get(column) for file, column in columns if column is not None] or [None]
        if any(found != lists[0] for found in lists):
            raise InputError(f"the tables of {self.place} list different class names: list the classes in a file (`classes`)")
        return lists[0]

    def rows(self, split: str) -> list[Row]:
        """Return the rows of a split.

        Raises:
            InputError: the split does not exist, or a file has no column of images or labels, or a label that cannot be a class.
        """
        if split not in self._rows:
            found: dict[str, list[Row]] = {split: []}
            for row, of_split in self._read(split):  # of a column of splits, the rows of all of them
                found.setdefault(split if of_split is None else of_split, []).append(row)
            self._rows |= found
        return self._rows[split]

    def stored(self, split: str) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Yield the bytes of image and mask in each row of the files of a split, in the order of `Row.number`."""
        for path in self.files_of(split):
            file = self._open[path]
            columns = [self._required(file, "image"), *([self._required(file, "mask")] if self.stores_masks else [])]
            yield from ((row[0], row[1] if self.stores_masks else None) for row in file.stored_bytes(columns))

    def files_of(self, split: str) -> list[Path]:
        """Return the files that contain a split, in order."""
        return self.files.get(split) or self.files.get("", [])

    def _read(self, split: str) -> Iterator[tuple[Row, str | None]]:
        """Yield each row of the files of a split, and the content of its split column."""
        if "" not in self.files and split not in self.files:
            raise InputError(f"{self.place} has no table of split {split}, but of {', '.join(self.files)}: set the data set's `eval_split`")
        if self.split_names and split not in self.split_names:
            raise InputError(f"{self.place} has no split {split}, but {', '.join(self.split_names[:5])}: set the data set's `eval_split`")
        start = 0
        for path in self.files_of(split):
            rows = list(self._rows_of(self._open[path], start))
            yield from rows
            start += len(rows)

    def _rows_of(self, file: TableFile, start: int) -> Iterator[tuple[Row, str | None]]:
        image, label, mask = self._required(file, "image"), self._required(file, "label"), self._column(file, "mask")
        images, labels = file.read(image), file.read(label)
        masks: Sequence[Any] = file.read(mask) if mask is not None else [None] * len(images)
        of_split: Sequence[Any] = self._splits_in(file) if "" in self.files else []
        boxes, names, folder = self._boxes(file), file.classes.get(label), file.path.parent
        for index, value in enumerate(images):
            place = f"{file.path}, row {index + 1}"
            yield (
                Row(
                    number=start + index,
                    place=place,
                    folder=folder,
                    image=_text(value),
                    label=_label(labels[index], names, place),
                    mask=_text(masks[index]),
                    box=boxes[index] if boxes else None,
                ),
                of_split[index] if of_split else None,
            )

    def _boxes(self, file: TableFile) -> Sequence[Any] | None:
        """Return the content of the column of boxes, or lists of that of four columns; None if boxes are not used."""
        if not self._with_boxes:
            return None
        if isinstance(self.columns.box, list):
            columns = [file.read(_existing(file, column, "box")) for column in self.columns.box]
            return list(zip(*columns, strict=True))
        return file.read(self._required(file, "box"))

    def _required(self, file: TableFile, role: str) -> Column:
        column = self._column(file, role)
        if column is None:
            raise InputError(f"{file.path} has no column of usual name for `{role}` ({_shown(file)}): name it in the data set's `columns`")
        return column

    def _column(self, file: TableFile, role: str) -> Column | None:
        """Return the column that the config or a usual name gives, or None.

        Raises:
            InputError: the config's column does not exist, or several columns have usual names.
        """
        asked = getattr(self.columns, role)
        if asked is not None and not isinstance(asked, list):
            return _existing(file, asked, role)
        if not self.columns.has_header:
            return None
        stored = [name for name in file.stored if usual(name) in USUAL_NAMES["image"][0]]
        if role == "image" and len(stored) == 1:
            return stored[0]
        for names in USUAL_NAMES[role]:
            found = [name for name in file.columns if usual(name) in names]
            if len(found) > 1:
                raise InputError(
                    f"{file.path} has several columns that may be the {role} ({', '.join(map(str, found))}): set `columns.{role}`"
                )
            if found:
                return found[0]
        return None


def _existing(file: TableFile, column: Column, role: str) -> Column:
    if column not in file.columns:
        raise InputError(f"{file.path} has no column {column} ({_shown(file)}): correct the data set's `columns.{role}`")
    return column


def _shown(file: TableFile) -> str:
    return f"it has {', '.join(map(str, file.columns[:12]))}"


def _split_of(path: Path, home: Path) -> str:
    """Return the split that a file's name, or its folder's name, tells: `train` of `train-00000-of-00002.parquet` and `train/0000.csv`."""
    stem = re.sub(r"([-_.]\d+)?(-of-\d+.*)?$", "", path.stem)
    if stem and stem != "metadata" and not stem.isdigit():
        return stem
    return path.parent.name if path.parent != home else ""


def _text(value: Any) -> str | None:
    """Return a value as text, or None for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None


def _label(value: Any, names: list[str] | None, place: str) -> str | None:
    """Return a label as text, or None if the row has none. Integers become the names that the file gives them."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = _text(value)
    if text is None or text.lower() == "nan" or (isinstance(value, int) and value < 0):
        return None
    if isinstance(value, list | dict | float | bytes):
        raise InputError(f"{place} has the label {text[:40]!r}, but a label is one text or integer: set the data set's `columns.label`")
    if len(text) > LONGEST_LABEL or not text.isprintable():
        raise InputError(f"{place} has the label {text[:40]!r}, which is too long or has control characters: correct it")
    if names is None or not isinstance(value, int):
        return text
    if value >= len(names):
        raise InputError(f"{place} has the label {value}, but the file names {len(names)} classes: correct it")
    return names[value]
