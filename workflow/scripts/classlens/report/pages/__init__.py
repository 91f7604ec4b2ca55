"""Pages of the report: each shows one figure or table with its caption, without any other file."""

import re
from base64 import encodebytes
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from classlens.presentation.templates import render
from classlens.presentation.texts import known, number, quoted, signed
from classlens.report.captions import Caption

HERE = Path(__file__).parent
OMITTED_COLUMNS = ("random", "permutations", "resamples", "seed", "protocol", "table")
"""Columns that a page omits, because the caption or another column has the same information."""
QUOTED_COLUMNS = ("expected", "tolerance")
"""Columns with numbers that are quoted, not measured: all their digits are shown."""
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".pdf": "application/pdf"}
"""Media type of each file format of figures."""
NUMBER = r"-?\d+\.\d+(?:e-?\d+)?"
"""Pattern of a number in a cell with several."""


def of_table(title: str, name: str, frame: pl.DataFrame, caption: Caption) -> str:
    """Return the page of a table; all text from data is escaped.

    Args:
        title: its heading.
        name: name of its file.
        frame: the table; `merge_intervals` merges each column with the columns of its interval.
        caption: its caption.
    """
    return _page(caption, title=title, name=name, table=table(frame))


def of_figure(title: str, name: str, picture: Path, caption: Caption) -> str:
    """Return the page of a figure.

    Args:
        title: its heading.
        name: name of its file.
        picture: the drawn figure.
        caption: its caption.
    """
    return _page(caption, title=title, name=name, table="", picture=data_uri(picture), is_pdf=picture.suffix == ".pdf")


def _page(caption: Caption, **values: Any) -> str:
    return render(
        asset("result.html"), style=Markup(asset("result.css")), caption=caption_html(caption), expected=caption.expected, **values
    )


def asset(name: str) -> str:
    """Return the text of a template or style sheet of the report."""
    return (HERE / name).read_text(encoding="utf-8")


def caption_html(caption: Caption) -> Markup:
    """Return a caption with its facts as HTML."""
    return Markup(render(asset("caption.html"), caption=caption))


def data_uri(path: Path) -> str:
    """Return a figure as the address of an image, in short lines, because Snakemake's front page refuses lines over 10,000 characters."""
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{encodebytes(path.read_bytes()).decode()}"


# Tables


def table(frame: pl.DataFrame) -> Markup:
    """Return a table as HTML, with measured numbers in three significant digits."""
    named = frame.drop("model").rename({"label": "model"}) if "label" in frame.columns else frame
    texts = named.with_columns(pl.col(name).map_elements(quoted, pl.String) for name in QUOTED_COLUMNS if name in named.columns)
    shown = merge_intervals(texts.drop(OMITTED_COLUMNS, strict=False))
    rows = [[_cell(value) for value in row] for row in shown.iter_rows()]
    are_numbers = [any(is_number for _, is_number in column) for column in zip(*rows, strict=True)] or [False] * shown.width
    heads = [(name.replace("_", " "), is_number) for name, is_number in zip(shown.columns, are_numbers, strict=True)]
    return Markup(render(asset("table.html"), heads=heads, rows=rows))


def _cell(value: object) -> tuple[str, bool]:
    """Return the text of a cell, and whether it starts like a number."""
    text = _text(value)
    return text, re.match("[\N{MINUS SIGN}\\d]", text) is not None


def _text(value: object) -> str:
    """Return the text of a value: nothing if it is missing; each number of a list of numbers like a number."""
    if isinstance(value, float):
        return number(value) if known(value) else ""
    if isinstance(value, str) and re.fullmatch(rf"{NUMBER}(?:; {NUMBER})+", value):
        return "; ".join(number(float(part)) for part in value.split("; "))
    return "" if value is None else signed(str(value)) if isinstance(value, int) else str(value)


def merge_intervals(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table with intervals in brackets after their values: columns `x`, `x_low`, `x_high`, or `x`, `low`, `high`, become `x`."""
    names, columns = frame.columns, []
    while names:
        name, *rest = names
        if [other.removeprefix(f"{name}_") for other in rest[:2]] == ["low", "high"]:
            values = frame.select(name, *rest[:2]).iter_rows()
            columns.append(pl.Series(name, [_with_interval(*row) for row in values], pl.String))
            rest = rest[2:]
        else:
            columns.append(frame[name])
        names = rest
    return pl.DataFrame(columns)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{_text(value)} [{_text(low)},\N{NO-BREAK SPACE}{_text(high)}]" if known(low) and known(high) else _text(value)
