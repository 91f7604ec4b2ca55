"""Files of tables that list images: csv, tsv, text, JSON lines, JSON in COCO's form, and Parquet, of which only some columns are read.

Planning reads them, so this module imports pyarrow only for Parquet files, and never reads the bytes of images.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classlens.data.text_files import lines_of, read_text
from classlens.errors import InputError, first_line

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
BATCH = 64
"""Number of rows of stored images that are read at once."""
Column = str | int
"""The name of a column, or its position from 0 in a text file without a header."""


@dataclass(frozen=True)
class TableFile:
    """A file with a row per image.

    Attributes:
        path: the file.
        columns: names of its columns, or their positions.
        stored: names of the columns that hold images as bytes.
        classes: names of integer labels in their order, by column; the file itself gives them.
        values: content of each column of files other than Parquet.
    """

    path: Path
    columns: Sequence[Column]
    stored: frozenset[Column] = frozenset()
    classes: dict[Column, list[str]] = field(default_factory=dict)
    values: Mapping[Column, Sequence[Any]] | None = None

    @classmethod
    def open(cls, path: Path, has_header: bool) -> "TableFile":
        """Read the names of the columns, and the content of files other than Parquet.

        Raises:
            InputError: the file cannot be read, or is not a table.
        """
        match path.suffix.lower():
            case ".parquet":
                return _parquet(path)
            case ".jsonl":
                return _of_mappings(path, [parsed(path, line) for line in lines_of(read_text(path)) if line])
            case ".json":
                content = parsed(path, read_text(path))
                return _coco(path, content) if isinstance(content, dict) else _of_mappings(path, content)
            case ".csv" | ".tsv" | ".txt":
                return _text(path, has_header)
            case other:
                raise InputError(f"{path} ends in {other or 'nothing'}: a table must be one of {', '.join(SUFFIXES)}")

    def read(self, column: Column) -> Sequence[Any]:
        """Return the values of a column. Of a column of images, return their names, or None where the file has none."""
        if self.values is not None:
            return self.values[column]
        return _parquet_column(self.path, str(column), column in self.stored)

    def stored_bytes(self, columns: Sequence[Column]) -> Iterator[tuple[bytes | None, ...]]:
        """Yield the bytes in some columns of images, row by row.

        Raises:
            InputError: the file is damaged.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            for batch in parquet.ParquetFile(self.path).iter_batches(BATCH, columns=list(map(str, columns))):
                values = [batch[str(column)].to_pylist() for column in columns]
                for row in zip(*values, strict=True):
                    yield tuple(value["bytes"] if isinstance(value, dict) else value for value in row)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.path} cannot be read ({first_line(error)}): get it again") from None


def _text(path: Path, has_header: bool) -> TableFile:
    """Read a file of lines with separated fields."""
    text = read_text(path)
    lines = [line for line in lines_of(text) if line and not (path.suffix.lower() == ".txt" and line.startswith("#"))]
    if not lines:
        raise InputError(f"{path} is empty: it needs a row per image")
    separator = max(",;\t", key=lines[0].count)
    rows = _separated(path, text, separator) if separator in lines[0] else [line.split() for line in lines]
    header: list[Column] = [*map(str.strip, rows.pop(0))] if has_header else [*range(len(rows[0]))]
    if len(set(header)) < len(header):
        raise InputError(f"{path} has two columns of one name ({', '.join(map(str, header))}): rename one of them")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(f"{path}, row {number} has {len(row)} fields and not {len(header)}: correct it")
    return TableFile(path, header, values=dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(header, ()))


def _separated(path: Path, text: str, separator: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path} is not valid CSV ({error}): correct it") from None


def parsed(path: Path, text: str) -> Any:
    """Return the content of JSON in a file.

    Raises:
        InputError: it is not valid JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({first_line(error)}): correct it") from None


def _of_mappings(path: Path, rows: Any) -> TableFile:
    """Return a table whose rows are JSON mappings."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f'{path} must hold a JSON mapping per image, such as {{"image": "cat.jpg", "label": "cat"}}: correct it')
    names = list(dict.fromkeys(name for row in rows for name in row))
    return TableFile(path, names, values={name: [row.get(name) for row in rows] for name in names})


def _coco(path: Path, content: dict[str, Any]) -> TableFile:
    """Return a table with a row for each image and each category that is annotated in it, from JSON in COCO's form."""
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in sorted(content["categories"], key=lambda one: one["id"])}
        pairs = dict.fromkeys((one["image_id"], one["category_id"]) for one in content["annotations"])
        labels = dict(zip(categories, _distinct(list(categories.values()), categories), strict=True))
        numbers = {key: number for number, key in enumerate(labels)}
        values: dict[Column, Any] = {"image": [names[image] for image, _ in pairs], "label": [numbers[category] for _, category in pairs]}
    except (KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not JSON in COCO's form ({why}): it needs images, annotations and categories") from None
    return TableFile(path, ["image", "label"], classes={"label": list(labels.values())}, values=values)


def _parquet(path: Path) -> TableFile:
    """Read the names of a Parquet file's columns, and the class names that Hugging Face stores beside them."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is not a Parquet file ({first_line(error)}): get it again") from None
    stored = frozenset(entry.name for entry in schema if _is_stored(entry.type))
    return TableFile(path, schema.names, stored, _class_labels(schema.metadata or {}))


def _is_stored(kind: Any) -> bool:
    """Return whether a column type holds images: bytes, or Hugging Face's pair of bytes and path."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return "bytes" in [entry.name for entry in kind]
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_labels(metadata: dict[bytes, bytes]) -> dict[Column, list[str]]:
    """Return the class names of each column of Hugging Face's type `ClassLabel`."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        found = {name: one["names"] for name, one in features.items() if isinstance(one, dict) and one.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError):
        return {}
    return {column: _distinct(names, range(len(names))) for column, names in found.items() if isinstance(names, list)}


def _distinct(names: list[str], numbers: Iterable[int]) -> list[str]:
    """Return names as texts, with its number instead of a name that is not unique."""
    often = Counter(names)
    return [str(name) if often[name] == 1 else str(number) for name, number in zip(names, numbers, strict=True)]


def _parquet_column(path: Path, column: str, is_stored: bool) -> list[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = parquet.read_schema(path)
    kind = schema.field(column).type
    if is_stored and not (pa.types.is_struct(kind) and "path" in [entry.name for entry in kind]):
        return [None] * parquet.read_metadata(path).num_rows
    try:
        values = parquet.ParquetFile(path).read([f"{column}.path" if is_stored else column])[column].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}): get it again") from None
    return [value and value["path"] for value in values] if is_stored else values


def usual(name: Column) -> str:
    """Return a column's name in the form that comparisons use: lower case, `_` for spaces and hyphens."""
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())
