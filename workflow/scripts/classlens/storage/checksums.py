"""Checksums in a Parquet file, which detect damage: one for each column of each row group, and one for the footer.

Parquet's own checksums cover pages, but neither their headers nor the footer, where a flipped bit can silently change data. The checksums
here cover every byte that is read, and take less time. They lie in a place that Parquet readers skip:

    pages | CRC-32 of each column chunk | CRC-32 of the footer | MAGIC | footer, its length, PAR1
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
from isal.isal_zlib import crc32  # four times as fast as zlib's

MAGIC = b"seal"
WORD = 4
END = 8  # bytes of the footer's length and of Parquet's magic number
BLOCK = 2**20


def add(path: Path) -> None:
    """Add checksums to a Parquet file that has just been written."""
    metadata = pq.read_metadata(path)
    with open(path, "r+b") as file:
        start, footer = _footer(file)
        sums = [_checksum(file, *chunk) for group in range(metadata.num_row_groups) for _, *chunk in _chunks(metadata, group)]
        file.seek(start)
        file.write(b"".join(map(_word, [*sums, crc32(footer)])) + MAGIC + footer)


def check_footer(file: BinaryIO) -> None:
    """Raise a ValueError if a file's footer does not match its checksum."""
    start, footer = _footer(file)
    file.seek(max(0, start - 2 * WORD))
    if file.read(2 * WORD) != _word(crc32(footer)) + MAGIC:
        raise ValueError("it does not end in the checksum that was written")


def check_columns(file: BinaryIO, metadata: pq.FileMetaData, group: int, columns: list[str] | None) -> None:
    """Raise a ValueError if a column in `columns` (None: all) of a row group does not match its checksum. Call `check_footer` first."""
    start, _ = _footer(file)
    chunks = list(_chunks(metadata, group))
    file.seek(start - 2 * WORD - WORD * len(chunks) * (metadata.num_row_groups - group))
    sums = file.read(WORD * len(chunks))
    for index, (name, *chunk) in enumerate(chunks):
        wanted = columns is None or any(name == column or name.startswith(f"{column}.") for column in columns)
        if wanted and _word(_checksum(file, *chunk)) != sums[WORD * index : WORD * (index + 1)]:
            raise ValueError(f"its column {name} does not have the checksum that was written")


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Return the position of the footer, and all bytes from there on."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END))
    start = max(0, size - END - int.from_bytes(file.read(WORD), "little"))
    file.seek(start)
    return start, file.read()


def _chunks(metadata: pq.FileMetaData, group: int) -> Iterator[tuple[str, int, int]]:
    """Yield name, first byte and length of each column chunk of a row group. The name of a nested column is the dotted path of its leaf."""
    row_group = metadata.row_group(group)
    for index in range(metadata.num_columns):
        column = row_group.column(index)
        start = column.data_page_offset if column.dictionary_page_offset is None else column.dictionary_page_offset
        yield column.path_in_schema, start, column.total_compressed_size


def _checksum(file: BinaryIO, start: int, length: int) -> int:
    file.seek(start)
    result = 0
    while length > 0 and (block := file.read(min(BLOCK, length))):
        result = crc32(block, result)
        length -= len(block)
    return result


def _word(number: int) -> bytes:
    return number.to_bytes(WORD, "little")
