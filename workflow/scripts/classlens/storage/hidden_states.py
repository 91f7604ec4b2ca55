"""Storage format of hidden states.

A shard is a Parquet file. Each site and block has a FixedSizeBinary column of float16 values (`resid_post.3`) and an int8 column of
exponents (`resid_post.3.exponent`). A hidden state is value * 2^exponent. `read_states` combines both columns into a NumPy array. Without
this library, one line does the same for a table `t` from pyarrow and a column `c`:

np.ldexp(np.frombuffer(t[c].combine_chunks().buffers()[1], "<f2").reshape(len(t), -1), t[c + ".exponent"].to_numpy()[:, None], dtype="f4")
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classlens.errors import InputError
from classlens.storage.parquet import StoredTable

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
STATES_FORMAT = "2"
"""Version of the storage format. Format 1 had float16 without exponents, in which small states lost precision."""


def fixed_binary(rows: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Return the rows of a [row, width] array as little-endian binary values, without copying."""
    rows = np.ascontiguousarray(rows)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * rows.itemsize), len(rows), [None, pa.py_buffer(rows)])


def binary_rows(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return a column of binary values of equal length as [row, width], the inverse of `fixed_binary`."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # with a single chunk
        array = array.chunk(0)
    rows = slice(array.offset, array.offset + len(array))
    return np.frombuffer(array.buffers()[1], dtype).reshape(-1, array.type.byte_width // dtype.itemsize)[rows]


def exponent_of(column: str) -> str:
    """Return the name of the column that holds the exponents of a column of float16 states."""
    return f"{column}.exponent"


@dataclass(frozen=True)
class StoredStates:
    """Hidden states in their stored form, which takes half the RAM of float32.

    Attributes:
        values: float16 or float32 [..., width].
        scale: float32 [...], the factor of each row of values; None for float32 values.
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
    """Return a column of a table of hidden states, in its stored form.

    Args:
        table: rows of a shard, with its schema metadata and, for float16 values, the column's exponents.
        column: the site and block, such as `resid_post.3`.
    """
    dtype = NUMPY_DTYPES[table.schema.metadata[b"dtype"].decode()]
    values = binary_rows(table[column], dtype)
    return StoredStates(values, None if dtype.itemsize == 4 else np.ldexp(np.float32(1), table[exponent_of(column)].to_numpy()))


def states_of(table: pa.Table, column: str) -> np.ndarray:
    """Return a column of a table of hidden states (`stored_states_of`) as float32 [row, width]."""
    return stored_states_of(table, column)[:]


def read_states(path: Path | str, column: str, model: str | None = None) -> np.ndarray:
    """Return one site and block of a shard of hidden states as float32 [row, width]; rows are (image, token), images in order.

    Example: `read_states("results/demo/hidden_states/cls/shapes/validation/00000.parquet", "resid_post.11")`.

    Args:
        path: the shard.
        column: the site and block.
        model: required sha256 of the weights; None for any.

    Raises:
        InputError: the file has no such column or another format, or `StoredTable` refuses it.
    """
    return read_stored_states(path, column, model)[:]


def read_stored_states(path: Path | str, column: str, model: str | None = None) -> StoredStates:
    """Return the same hidden states as `read_states`, in their stored form, which takes half the RAM."""
    table = states_table(path, model)
    if column not in table.names:
        raise InputError(f"{path} has no column {column!r}: its columns are {', '.join(table.names)}")
    return stored_states_of(table.read([name for name in (column, exponent_of(column)) if name in table.names]), column)


def states_table(path: Path | str, model: str | None = None) -> StoredTable:
    """Open a shard of hidden states for reading.

    Raises:
        InputError: the shard has another format, or `StoredTable` refuses it.
    """
    table = StoredTable(path, model)
    found = table.metadata.get(b"format", b"1").decode(errors="replace")
    if found != STATES_FORMAT:
        raise InputError(
            f"{path} holds hidden states in format {found}; this version reads format {STATES_FORMAT}: delete it and run the workflow again"
        )
    return table
