"""Plain text for a terminal: entries with a name and a wrapped text, and aligned columns."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from classlens.errors import printable

WIDTH = 100
"""Maximum number of columns. A single longer word, such as a path, is not broken."""
NAME = 14
"""Width of the name of an entry."""
INDENT = NAME + 3
"""Column in which texts begin."""
GLUE = "\0"
"""Stands for a space at which a text is not wrapped; `printable` leaves none in a text."""


def entry(name: str, text: str | Sequence[str]) -> str:
    """Return a name and a text, wrapped and aligned. Several texts are separated by commas, and each stays on one line."""
    joined = printable(text) if isinstance(text, str) else ", ".join(printable(part).replace(" ", GLUE) for part in text)
    first, further = f"  {name:{NAME}} ", " " * INDENT
    lines = textwrap.wrap(joined, WIDTH, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(GLUE, " ")


def table(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield rows as lines with aligned columns, indented like the texts of entries; long cells are cut."""
    cells = [[textwrap.shorten(printable(str(cell)), 30, placeholder="...") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield " " * INDENT + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def shown(items: Sequence[str], most: int = 5) -> str:
    """Return the first items, separated by commas."""
    return ", ".join(items[:most]) + (", ..." if len(items) > most else "")
