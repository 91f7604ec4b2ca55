"""Reading and writing of the workflow's tables, with atomic writes, checksums, and provenance in the schema metadata."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classlens.errors import InputError, first_line
from classlens.storage import checksums
from classlens.storage.atomic_write import atomic_write

if TYPE_CHECKING:
    import polars


def write_table(path: Path, table: pa.Table, provenance: dict[str, str]) -> None:
    """Write a whole table, zstd-compressed, with `provenance` in its schema metadata."""
    with atomic_write(path) as draft, _named(path):
        described = table.replace_schema_metadata({**(table.schema.metadata or {}), **provenance})
        pq.write_table(described, draft, compression="zstd")
        checksums.add(draft)


def write_csv(frame: "polars.DataFrame", path: Path) -> None:
    """Write a table as CSV, for people, with six decimal places."""
    with atomic_write(path) as draft:
        frame.write_csv(draft, float_precision=6)


@contextmanager
def table_writer(path: Path, schema: pa.Schema, provenance: dict[str, str], **options: Any) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Yield a function that appends a record batch to a table as one row group. The file appears if the block ends without an error."""
    named = [field.name for field in schema if pa.types.is_dictionary(field.type)]  # dictionaries of numbers cost time and save no space
    options = {"compression": "zstd", "use_dictionary": named, "write_statistics": False, **options}
    schema = schema.with_metadata({**(schema.metadata or {}), **provenance})
    with atomic_write(path) as draft:
        with _named(path), pq.ParquetWriter(draft, schema, **options) as writer:

            def write(batch: pa.RecordBatch) -> None:
                with _named(path):
                    writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=max(1, batch.num_rows))

            yield write
        with _named(path):
            checksums.add(draft)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the path of the written file to disk errors, because pyarrow raises them without a path."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_all(writers: Iterable[Callable[[pa.RecordBatch], None]], batches: Iterable[pa.RecordBatch]) -> None:
    """Append one record batch to each table (`table_writer`)."""
    for write, batch in zip(writers, batches, strict=True):
        write(batch)


_PROTOCOL: ContextVar[str | None] = ContextVar("protocol", default=None)


@contextmanager
def reading(protocol: str | None) -> Iterator[None]:
    """Refuse tables of another protocol within the block (None: accept all), so that results of two runs never mix."""
    token = _PROTOCOL.set(protocol)
    try:
        yield
    finally:
        _PROTOCOL.reset(token)


def _check_origin(path: Path | str, metadata: dict[bytes, bytes], wanted: dict[bytes, str | None]) -> None:
    for key, value in wanted.items():
        found = metadata.get(key, b"").decode(errors="replace")
        if value and found and found != value:
            what = key.decode().partition("_")[0]
            raise InputError(f"{path} was made with another {what} ({found} instead of {value}): delete it and run the workflow again")


def unreadable(path: Path | str, error: Exception) -> InputError:
    """Return the error for a file of this workflow that is missing, or that was damaged after it was written."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"there is no file {path}: correct the path, or run the workflow, which makes it")
    return InputError(f"{path} cannot be read ({first_line(error)}): delete it and run the workflow again")


class StoredTable:
    """A Parquet file of this workflow, open for reading. It checks the checksums of all data that it reads (`checksums`).

    Args:
        path: the file.
        model: required sha256 of the weights; None for any.

    Raises:
        InputError: the file is damaged, or was made with another model or protocol (`reading`).
    """

    def __init__(self, path: Path | str, model: str | None = None):
        self.path = path
        with self._whole_or_refused() as file:
            checksums.check_footer(file)
            self._parquet = pq.ParquetFile(path)
        _check_origin(path, self.metadata, {b"protocol": _PROTOCOL.get(), b"model_sha256": model})

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return self._parquet.schema_arrow.names

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """Schema metadata."""
        return self._parquet.schema_arrow.metadata or {}

    def groups(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield some columns (None: all), one row group at a time.

        Raises:
            InputError: the columns are damaged.
        """
        for index in range(self._parquet.num_row_groups):
            yield self._read([index], columns)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return some columns (None: all) of all rows.

        Raises:
            InputError: the columns are damaged.
        """
        return self._read(list(range(self._parquet.num_row_groups)), columns)

    def _read(self, groups: list[int], columns: list[str] | None) -> pa.Table:
        with self._whole_or_refused() as file:
            for group in groups:
                checksums.check_columns(file, self._parquet.metadata, group, columns)
            return self._parquet.read_row_groups(groups, columns)

    @contextmanager
    def _whole_or_refused(self) -> Iterator[BinaryIO]:
        try:
            with open(self.path, "rb") as file:
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(self.path, error) from None


def read_table(path: Path | str, columns: list[str] | None = None, model: str | None = None) -> pa.Table:
    """Return a whole table of this workflow.

    Args:
        path: the file.
        columns: names of the columns to read; None for all.
        model: required sha256 of the weights; None for any.

    Raises:
        InputError: `StoredTable` refuses the file, or a column is damaged.
    """
    return StoredTable(path, model).read(columns)


def values_of(lists: pa.ChunkedArray) -> np.ndarray:
    """Return the values of a column of equally long lists, one list after the other, [row * length]."""
    return np.concatenate([chunk.flatten().to_numpy() for chunk in lists.chunks])
