"""What all figures share: style, colours, axes, legends and saving."""

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from classlens.presentation.series import Series
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write
from classlens.vocabulary import METHOD_NAMES, SUBLAYER_NAMES, TOKEN_NAMES

WIDTHS = {"single": 3.5, "double": 7.0}
"""Widths of figures, inches: one column, and two."""

LEAST_WIDTH = 2.2
"""Width that a panel with an axis of its own needs, inches."""

DIVERGING = "RdBu_r"
"""Colours of relevance: red is for the class, blue against it."""

FORMATS = ("svg", "png", "pdf")
STYLE = Path(__file__).with_name("classlens.mplstyle")

COLOURS = {
    "cls": "#D55E00",
    "image": "#0072B2",
    "class": "#009E73",
    "context": "#CC79A7",
    "attn": "#0072B2",
    "mlp": "#D55E00",
    "previous": "#000000",
    "composition": "#009E73",
    "reference": "#8c8c8c",
    "ours": "#0072B2",
    "chefer": "#D55E00",
    "rollout": "#009E73",
    "last_attention": "#CC79A7",
    "probe": "#E69F00",
    "random": "#8c8c8c",
    "background": "#595959",
    "centre": "#595959",
}
NAMES = {
    **TOKEN_NAMES,
    **SUBLAYER_NAMES,
    **METHOD_NAMES,
    "previous": "previous block",
    "composition": "composition (none of these)",
    "background": "all background",
    "centre": "centred blob",
}

RANDOM_TWINS = "random twins (mean, range over seeds)"
"""What a legend says of all random twins together."""


HATCHED: dict[str, Any] = {"hatch": "//////", "alpha": 0.35, "linewidth": 0}
"""How the range of random twins is drawn, unlike the shading of an interval."""


INTERVAL, STAR = "interval", "star"
"""Marks of what a figure's legend explains once, in whatever panel it is."""


Draw = Callable[[pl.DataFrame, float], Figure]
"""Draws a figure from its table alone, at a width in inches."""


def save(
    frame: pl.DataFrame, draw: Draw, csv: Path, drawings: dict[str, Path], *, width: str = "double", style: Path | None = None
) -> None:
    """Write a figure's table, draw the figure from it, and write that in every format asked for; equal tables give equal bytes.

    Args:
        frame: the table.
        draw: draws the figure.
        csv: file to write the table to.
        drawings: file to write the figure to, by format (`FORMATS`).
        width: `single` or `double` column.
        style: matplotlib style file over that of classlens.
    """
    parquet.write_csv(frame, csv)
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    with styled(style):
        figure = draw(pl.read_csv(csv, schema=frame.schema), WIDTHS[width])
        wrap_texts(figure)
        for form, path in drawings.items():
            with atomic_write(path) as draft:
                figure.savefig(draft, metadata={"Date": None} if form == "svg" else None)
        plt.close(figure)


@contextmanager
def styled(style: Path | None = None) -> Iterator[None]:
    """Within the block, figures are drawn with a style file, over that of classlens."""
    with mpl.rc_context():
        plt.style.use(["default", STYLE, *([style] if style else [])])
        yield


def band(axes: Axes, x: pl.Series, rows: pl.DataFrame, colour: str, *, label: str | None = None, style: str = "-") -> None:
    """A line through the means of rows with their intervals (columns mean, low, high) as shading."""
    axes.plot(x, rows["mean"], style, color=colour, label=label, marker="o" if len(rows) < 30 else None)
    axes.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0, gid=INTERVAL)


def twin_band(axes: Axes, x: pl.Series, rows: pl.DataFrame, colour: str) -> None:
    """Draw the mean of a model's random twins dashed, and their smallest to largest value hatched (columns of `series.twin_range`)."""
    if rows["twins_mean"].null_count() < len(rows):
        axes.plot(x, rows["twins_mean"], "--", color=colour, linewidth=1, label=RANDOM_TWINS)
        axes.fill_between(x, rows["twins_low"], rows["twins_high"], facecolor="none", edgecolor=colour, **HATCHED)


def count(numbers: pl.Series, unit: str) -> str:
    """Return how many there are of a unit, as titles say it: `n = 200 images`, or the smallest and the largest number."""
    low, high = min(numbers), max(numbers)
    return f"n = {high} {unit}" if low == high else f"n = {low} to {high} {unit}"


def stars(axes: Axes, x: pl.Series, height: float, colour: str) -> None:
    """A star above each significant place, at a height in units of the axes."""
    if len(x):  # a line without points would count as a point in the corner when the layout is made
        axes.plot(x, [height] * len(x), "*", color=colour, markersize=4, clip_on=False, transform=axes.get_xaxis_transform(), gid=STAR)


def block_axis(axes: Axes, label: str = "block") -> None:
    """An x axis that counts blocks from 1."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def patch_grid(item: Series) -> tuple[int, int]:
    """Rows and columns of a model's patches."""
    rows, columns = json.loads(item.metadata["grid"])
    return rows, columns


def reference_line(axes: Axes, value: float, label: str | None = None) -> None:
    """A dotted horizontal line at a value to compare with."""
    axes.axhline(value, color=COLOURS["reference"], linestyle=":", linewidth=1, label=label, zorder=1)


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend for all panels, under them, from the entries of one of them, each label once, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(reversed(labels), reversed(handles), strict=True))  # of equal labels the first stays
    names = [name for name in dict.fromkeys(labels) if name != RANDOM_TWINS]
    if RANDOM_TWINS in entries:
        line = Line2D([], [], color=COLOURS["random"], linestyle="--")
        entries[RANDOM_TWINS] = (Patch(facecolor="none", edgecolor=COLOURS["random"], **HATCHED), line)
        names.append(RANDOM_TWINS)
    for name, handle in explained(figure).items():
        entries[name] = handle
        names.append(name)
    for count in range(min(columns, len(names)), 0, -1):
        legend = figure.legend([entries[name] for name in names], names, loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width < figure.bbox.width:
            break
        legend.remove()


def explained(figure: Figure) -> dict[str, Any]:
    """Return legend entries for intervals and stars, where some panel has them."""
    marks = {artist.get_gid() for axes in figure.axes for artist in (*axes.collections, *axes.lines)}
    entries: dict[str, Any] = {}
    if INTERVAL in marks:
        entries["95 % interval"] = Patch(color=COLOURS["reference"], alpha=0.3, linewidth=0)
    if STAR in marks:
        entries["p < 0.05"] = Line2D([], [], color=COLOURS["previous"], marker="*", linestyle="", markersize=4)
    return entries


def abreast(panels: int, width: float, least: float = LEAST_WIDTH) -> int:
    """How many of so many panels a figure has room for side by side, each of which needs a width, in inches."""
    return max(1, min(panels, int(width / least)))


def wrap_texts(figure: Figure) -> None:
    """Break titles and axis labels that are in one line and longer than the side of their panel; at its left there is room to spare."""
    figure.draw_without_rendering()  # settles how large panels are
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        box = axes.get_window_extent()
        titles = [child for child in axes.get_children() if isinstance(child, Text)]
        for text, side in (*((title, box.width) for title in titles), (axes.xaxis.label, box.width), (axes.yaxis.label, 1.25 * box.height)):
            _wrap(text, side)


def _wrap(text: Text, side: float) -> None:
    words = text.get_text()
    extent = text.get_window_extent()
    if words and "\n" not in words and (length := max(extent.width, extent.height)) > side:
        text.set_text(textwrap.fill(words, max(1, int(0.9 * len(words) * side / length)), break_long_words=False))


def grid_of_panels(
    count: int, width: float, height: float, columns: int, *, share_x: bool = True, least: float = LEAST_WIDTH
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels that share their axes, in as many columns as there is room for; unused places stay empty."""
    columns = abreast(min(columns, count), width, least)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), sharex=share_x, sharey=True, squeeze=False)
    for spare in axes.ravel()[count:]:
        spare.set_visible(False)
    return figure, list(axes.ravel()[:count])
