"""Reading and writing the workflow's files: whole or not at all, with their provenance inside.

Hidden states are Parquet with one FixedSizeBinary column per site and block; `read_states` turns a column into a NumPy array. In one line,
without this library: `np.frombuffer(column.combine_chunks().buffers()[1], "<f2").reshape(len(column), -1)`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classlens.errors import InputError

if TYPE_CHECKING:
    import polars

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # the suffix stays: matplotlib goes by it
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, provenance: dict[str, str]) -> None:
    """Write a table in one go, zstd-compressed, with `provenance` in its schema metadata."""
    with whole(path) as draft:
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **provenance}), draft, compression="zstd")


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
    with whole(path) as draft, pq.ParquetWriter(draft, schema, **options) as writer:
        yield lambda batch: writer.write_table(pa.Table.from_batches([batch]).cast(schema), row_group_size=max(1, batch.num_rows))


def open_table(path: Path | str) -> pq.ParquetFile:
    """A Parquet file of this workflow, open for reading.

    Raises:
        InputError: the file is not whole Parquet.
    """
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path | str, error: Exception) -> InputError:
    """The error for a file of this workflow that was damaged after it was written."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path} cannot be read ({reason}): delete it and run the workflow again")


def read_table(path: Path | str, columns: list[str] | None = None) -> pa.Table:
    """A whole table of this workflow.

    Raises:
        InputError: the file is not whole Parquet.
    """
    try:
        return open_table(path).read(columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from None


def fixed_binary(rows: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Rows of a [row, width] array as little-endian binary values, without copying."""
    rows = np.ascontiguousarray(rows)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * rows.itemsize), len(rows), [None, pa.py_buffer(rows)])


def states_of(column: pa.ChunkedArray | pa.Array, dtype: str) -> np.ndarray:
    """A column of hidden states as a [row, width] array of `dtype` (`float16` or `float32`)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of several chunks gives one chunk, of none gives none
        array = array.chunk(0)
    values = np.frombuffer(array.buffers()[1], NUMPY_DTYPES[dtype])
    return values.reshape(-1, array.type.byte_width // NUMPY_DTYPES[dtype].itemsize)[array.offset : array.offset + len(array)]


def read_states(path: Path | str, column: str) -> np.ndarray:
    """One site and block of a shard of hidden states, as [row, width]; rows are (image, token), images in order.

    Example: `read_states("results/demo/hidden_states/cls/shapes/validation/00000.parquet", "resid_post.11")`.

    Raises:
        InputError: the file is not whole Parquet, or has no such column.
    """
    file = open_table(path)
    if column not in file.schema_arrow.names:
        raise InputError(f"{path} has no column {column!r}: its columns are {', '.join(file.schema_arrow.names)}")
    metadata = file.schema_arrow.metadata
    try:
        return states_of(file.read([column])[column], metadata[b"dtype"].decode())
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, error) from None
