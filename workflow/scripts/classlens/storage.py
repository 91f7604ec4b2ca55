"""Reading and writing the workflow's files: whole or not at all, with their provenance inside.

Hidden states are Parquet with one FixedSizeBinary column per site and block (`resid_post.3`), of float16 values, and an int8 column of
exponents beside it (`resid_post.3.exponent`): a state is value * 2^exponent. `read_states` returns both together as a NumPy array. In one
line, without this library, of a table `t` read by pyarrow and a column `c`:

np.ldexp(np.frombuffer(t[c].combine_chunks().buffers()[1], "<f2").reshape(len(t), -1), t[c + ".exponent"].to_numpy()[:, None], dtype="f4")
"""

import glob
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classlens import seal
from classlens.errors import InputError, first_line

if TYPE_CHECKING:
    import polars

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
STATES_FORMAT = "2"
"""How hidden states are stored; format 1 had float16 without exponents, in which small states lost their digits."""


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only when the block ends without an error.

    Drafts have random names, because processes on two machines may have one number; those that a killed process left behind are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")  # the suffix stays: matplotlib goes by it
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, provenance: dict[str, str]) -> None:
    """Write a table in one go, zstd-compressed, with `provenance` in its schema metadata."""
    with whole(path) as draft, _named(path):
        described = table.replace_schema_metadata({**(table.schema.metadata or {}), **provenance})
        pq.write_table(described, draft, compression="zstd")
        seal.add(draft)


def write_csv(frame: "polars.DataFrame", path: Path) -> None:
    """Write a table for people, with six decimal places."""
    with whole(path) as draft:
        frame.write_csv(draft, float_precision=6)


@contextmanager
def table_writer(path: Path, schema: pa.Schema, provenance: dict[str, str], **options: Any) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that appends a record batch to a table as one row group; the file appears when the block ends without an error."""
    named = [field.name for field in schema if pa.types.is_dictionary(field.type)]  # dictionaries of numbers cost time and save nothing
    options = {"compression": "zstd", "use_dictionary": named, "write_statistics": False, **options}
    schema = schema.with_metadata({**(schema.metadata or {}), **provenance})
    with whole(path) as draft:
        with _named(path), pq.ParquetWriter(draft, schema, **options) as writer:

            def write(batch: pa.RecordBatch) -> None:
                with _named(path):
                    writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=max(1, batch.num_rows))

            yield write
        with _named(path):
            seal.add(draft)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give errors of the disk, which pyarrow tells without a file, the name of the one that is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_all(writers: Iterable[Callable[[pa.RecordBatch], None]], batches: Iterable[pa.RecordBatch]) -> None:
    """Append a record batch to each of several tables (`table_writer`)."""
    for write, batch in zip(writers, batches, strict=True):
        write(batch)


_PROTOCOL: ContextVar[str | None] = ContextVar("protocol", default=None)


@contextmanager
def reading(protocol: str | None) -> Iterator[None]:
    """Within the block, tables of another protocol are refused, so that results of two runs are never mixed."""
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
            raise InputError(f"{path} was made with another {what} ({found}, and this is {value}): delete it and run the workflow again")


def unreadable(path: Path | str, error: Exception) -> InputError:
    """The error for a file of this workflow that was damaged after it was written."""
    return InputError(f"{path} cannot be read ({first_line(error)}): delete it and run the workflow again")


class StoredTable:
    """A Parquet file of this workflow, open for reading. Whatever is read of it has first been held against its checksums (`seal`).

    Args:
        path: the file.
        model: sha256 of the weights that it must have been made with.

    Raises:
        InputError: the file is damaged, or was made with another model or protocol (`reading`).
    """

    def __init__(self, path: Path | str, model: str | None = None):
        self.path = path
        with self._whole_or_refused() as file:
            seal.check_footer(file)
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
        """Some columns (None: all), a row group at a time.

        Raises:
            InputError: they are damaged.
        """
        for index in range(self._parquet.num_row_groups):
            yield self._read([index], columns)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Some columns (None: all) of all rows.

        Raises:
            InputError: they are damaged.
        """
        return self._read(list(range(self._parquet.num_row_groups)), columns)

    def _read(self, groups: list[int], columns: list[str] | None) -> pa.Table:
        with self._whole_or_refused() as file:
            for group in groups:
                seal.check_columns(file, self._parquet.metadata, group, columns)
            return self._parquet.read_row_groups(groups, columns)

    @contextmanager
    def _whole_or_refused(self) -> Iterator[BinaryIO]:
        try:
            with open(self.path, "rb") as file:
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(self.path, error) from None


def read_table(path: Path | str, columns: list[str] | None = None, model: str | None = None) -> pa.Table:
    """A whole table of this workflow.

    Args:
        path: the file.
        columns: names of the columns to read; None for all.
        model: sha256 of the weights that it must have been made with.

    Raises:
        InputError: as `StoredTable`.
    """
    return StoredTable(path, model).read(columns)


def fixed_binary(rows: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Rows of a [row, width] array as little-endian binary values, without copying."""
    rows = np.ascontiguousarray(rows)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * rows.itemsize), len(rows), [None, pa.py_buffer(rows)])


def exponent_of(column: str) -> str:
    """Return the name of the column that holds the exponents of a column of float16 states."""
    return f"{column}.exponent"


@dataclass(frozen=True)
class StoredStates:
    """Hidden states as they are stored, which takes half the memory of what they stand for.

    Attributes:
        values: float16 or float32 [..., width].
        scale: float32 [...], by which the values are multiplied; None for float32.
    """

    values: np.ndarray
    scale: np.ndarray | None

    def __getitem__(self, part: Any) -> np.ndarray:
        """Return the states of some rows as float32 [..., width]."""
        if self.scale is None:
            return self.values[part]
        return np.multiply(self.values[part], self.scale[part][..., None], dtype=np.float32)

    def reshape(self, *shape: int) -> "StoredStates":
        """Return the same states with rows in another shape."""
        scale = None if self.scale is None else self.scale.reshape(shape)
        return StoredStates(self.values.reshape(*shape, self.values.shape[-1]), scale)

    @classmethod
    def concatenated(cls, parts: "list[StoredStates]") -> "StoredStates":
        """Return the rows of several parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        scales = [part.scale for part in parts if part.scale is not None]
        return cls(np.concatenate([part.values for part in parts]), np.concatenate(scales) if scales else None)


def stored_states_of(table: pa.Table, column: str) -> StoredStates:
    """Return a column of a table of hidden states.

    Args:
        table: rows of a shard, with its schema metadata, and with the column's exponents where it is float16.
        column: the site and block, such as `resid_post.3`.
    """
    dtype = NUMPY_DTYPES[table.schema.metadata[b"dtype"].decode()]
    array = table[column].combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of several chunks gives one chunk, of none gives none
        array = array.chunk(0)
    rows = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(array.buffers()[1], dtype).reshape(-1, array.type.byte_width // dtype.itemsize)[rows]
    return StoredStates(values, None if dtype.itemsize == 4 else np.ldexp(np.float32(1), table[exponent_of(column)].to_numpy()))


def states_of(table: pa.Table, column: str) -> np.ndarray:
    """Return a column of a table of hidden states (`stored_states_of`) as float32 [row, width]."""
    return stored_states_of(table, column)[:]


def values_of(lists: pa.ChunkedArray) -> np.ndarray:
    """The values of a column of lists of one length, one list after the other, [row * length]."""
    return np.concatenate([chunk.flatten().to_numpy() for chunk in lists.chunks])


def read_states(path: Path | str, column: str, model: str | None = None) -> np.ndarray:
    """Return one site and block of a shard of hidden states as float32 [row, width]; rows are (image, token), images in order.

    Example: `read_states("results/demo/hidden_states/cls/shapes/validation/00000.parquet", "resid_post.11")`.

    Args:
        path: the shard.
        column: its column.
        model: sha256 of the weights that it must have been made with.

    Raises:
        InputError: the file has no such column or another format, or as `StoredTable`.
    """
    return read_stored_states(path, column, model)[:]


def read_stored_states(path: Path | str, column: str, model: str | None = None) -> StoredStates:
    """Return what `read_states` does, without taking twice the memory for it."""
    table = states_table(path, model)
    if column not in table.names:
        raise InputError(f"{path} has no column {column!r}: its columns are {', '.join(table.names)}")
    return stored_states_of(table.read([name for name in (column, exponent_of(column)) if name in table.names]), column)


def states_table(path: Path | str, model: str | None = None) -> StoredTable:
    """Open a shard of hidden states for reading.

    Raises:
        InputError: the shard has another format, or as `StoredTable`.
    """
    table = StoredTable(path, model)
    found = table.metadata.get(b"format", b"1").decode(errors="replace")
    if found != STATES_FORMAT:
        raise InputError(
            f"{path} holds hidden states in format {found}; this version reads format {STATES_FORMAT}: delete it and run the workflow again"
        )
    return table
