"""Style, colours, axes, legends and saving, shared by all figures."""

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
"""Widths of figures that fill one or two columns of a page, inches."""

MIN_PANEL_WIDTH = 2.2
"""Minimum width of a panel with its own axis, inches."""

DIVERGING = "RdBu_r"
"""Colour map of relevance: red for the class, blue against it."""

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
"""Legend entry for all random twins."""


HATCHED: dict[str, Any] = {"hatch": "//////", "alpha": 0.35, "linewidth": 0}
"""Style of the range of random twins, distinct from the shading of an interval."""


INTERVAL, STAR = "interval", "star"
"""Ids (`gid`) of intervals and stars, which the legend explains once for all panels."""


Draw = Callable[[pl.DataFrame, float], Figure]
"""A function that draws a figure from its table alone, at a width in inches."""


def save(
    frame: pl.DataFrame, draw: Draw, csv: Path, drawings: dict[str, Path], *, width: str = "double", style: Path | None = None
) -> None:
    """Write a figure's table, draw the figure from it, and write the figure in every requested format.

    Equal tables give equal bytes.

    Args:
        frame: the table.
        draw: draws the figure.
        csv: output file of the table.
        drawings: output file of the figure, by format (`FORMATS`).
        width: `single` or `double` column.
        style: matplotlib style file that overrides classlens's own.
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
    """Apply classlens's style, and a style file that overrides it, within a `with` block."""
    with mpl.rc_context():
        plt.style.use(["default", STYLE, *([style] if style else [])])
        yield


def band(axes: Axes, x: pl.Series, rows: pl.DataFrame, colour: str, *, label: str | None = None, style: str = "-") -> None:
    """Draw a line through the means of rows, with their intervals as shading (columns mean, low, high)."""
    axes.plot(x, rows["mean"], style, color=colour, label=label, marker="o" if len(rows) < 30 else None)
    axes.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0, gid=INTERVAL)


def twin_band(axes: Axes, x: pl.Series, rows: pl.DataFrame, colour: str) -> None:
    """Draw the mean of a model's random twins dashed and their range hatched (columns of `series.twin_range`)."""
    if rows["twins_mean"].null_count() < len(rows):
        axes.plot(x, rows["twins_mean"], "--", color=colour, linewidth=1, label=RANDOM_TWINS)
        axes.fill_between(x, rows["twins_low"], rows["twins_high"], facecolor="none", edgecolor=colour, **HATCHED)


def count(numbers: pl.Series, unit: str) -> str:
    """Return a count for a title: `n = 200 images`, or `n = 3 to 9 images` if the numbers differ."""
    low, high = min(numbers), max(numbers)
    return f"n = {high} {unit}" if low == high else f"n = {low} to {high} {unit}"


def stars(axes: Axes, x: pl.Series, height: float, colour: str) -> None:
    """Draw a star above each significant block, at a height as a fraction of the axes."""
    if len(x):  # the layout counts a line without points as a point in the corner
        axes.plot(x, [height] * len(x), "*", color=colour, markersize=4, clip_on=False, transform=axes.get_xaxis_transform(), gid=STAR)


def block_axis(axes: Axes, label: str = "block") -> None:
    """Label an x axis of blocks, which count from 1, and give it integer ticks."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def patch_grid(item: Series) -> tuple[int, int]:
    """Return the numbers of rows and columns of a model's patches."""
    rows, columns = json.loads(item.metadata["grid"])
    return rows, columns


def reference_line(axes: Axes, value: float, label: str | None = None) -> None:
    """Draw a dotted horizontal line at a reference value."""
    axes.axhline(value, color=COLOURS["reference"], linestyle=":", linewidth=1, label=label, zorder=1)


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Draw one legend below all panels, with the entries of one panel, each label once, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(reversed(labels), reversed(handles), strict=True))  # reversed, so that the first of equal labels stays
    names = [name for name in dict.fromkeys(labels) if name != RANDOM_TWINS]
    if RANDOM_TWINS in entries:
        line = Line2D([], [], color=COLOURS["random"], linestyle="--")
        entries[RANDOM_TWINS] = (Patch(facecolor="none", edgecolor=COLOURS["random"], **HATCHED), line)
        names.append(RANDOM_TWINS)
    for name, handle in mark_entries(figure).items():
        entries[name] = handle
        names.append(name)
    for count in range(min(columns, len(names)), 0, -1):
        legend = figure.legend([entries[name] for name in names], names, loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width < figure.bbox.width:
            break
        legend.remove()


def mark_entries(figure: Figure) -> dict[str, Any]:
    """Return legend entries for intervals and stars, if any panel shows them."""
    marks = {artist.get_gid() for axes in figure.axes for artist in (*axes.collections, *axes.lines)}
    entries: dict[str, Any] = {}
    if INTERVAL in marks:
        entries["95 % interval"] = Patch(color=COLOURS["reference"], alpha=0.3, linewidth=0)
    if STAR in marks:
        entries["p < 0.05"] = Line2D([], [], color=COLOURS["previous"], marker="*", linestyle="", markersize=4)
    return entries


def panels_per_row(panels: int, width: float, least: float = MIN_PANEL_WIDTH) -> int:
    """Return how many panels fit side by side in a figure of a width, if each needs at least `least` inches."""
    return max(1, min(panels, int(width / least)))


def wrap_texts(figure: Figure) -> None:
    """Wrap one-line titles and axis labels that are longer than their panel; a y label may be a quarter longer."""
    figure.draw_without_rendering()  # computes the sizes of panels
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
    count: int, width: float, height: float, columns: int, *, share_x: bool = True, least: float = MIN_PANEL_WIDTH
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its `count` panels, which share their axes, in as many of the columns as fit; spare places stay empty."""
    columns = panels_per_row(min(columns, count), width, least)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), sharex=share_x, sharey=True, squeeze=False)
    for spare in axes.ravel()[count:]:
        spare.set_visible(False)
    return figure, list(axes.ravel()[:count])
