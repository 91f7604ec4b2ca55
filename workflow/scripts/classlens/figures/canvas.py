"""Style, colours, axes, legends and saving, shared by all figures."""

import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from classlens.presentation.series import Series
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write
from classlens.vocabulary import METHOD_NAMES, SUBLAYER_NAMES, TOKEN_NAMES

WIDTHS = {"single": 3.5, "double": 5.5}
"""Widths of figures that fill a column of a page, or the whole text of a page with one column (NeurIPS: 5.5), inches."""

MIN_PANEL_WIDTH = 2.2
"""Minimum width of a panel with its own axis, inches."""

AGAINST, FOR = "#0099C6", "#B0005E"
"""Colours of relevance: cyan against the class, magenta for it. Few objects have them, and their greys differ too."""
DIVERGING = LinearSegmentedColormap.from_list("relevance", [AGAINST, "#f7f7f7", FOR])
"""Colour map of relevance."""

FORMATS = ("svg", "png", "pdf")
STYLE = Path(__file__).with_name("classlens.mplstyle")


@dataclass(frozen=True)
class Look:
    """How a series is drawn: its marker and its hatch tell it from others where colours look alike.

    Attributes:
        colour: of its line, its interval and its random twins.
        number: its place in `MARKERS` and `HATCHES`.
    """

    colour: str
    number: int

    @property
    def marker(self) -> dict[str, Any]:
        """Arguments of `plot` for its marker: filled and open ones take turns."""
        shape, is_filled = MARKERS[self.number % len(MARKERS)]
        return {"marker": shape, "markerfacecolor": self.colour if is_filled else "white"}

    @property
    def hatch(self) -> str:
        """Pattern of the range of its random twins."""
        return HATCHES[self.number % len(HATCHES)]


MARKERS = (
    ("o", True),
    ("s", False),
    ("^", True),
    ("D", False),
    ("v", True),
    ("X", False),
    ("P", True),
    ("o", False),
    ("<", True),
    (">", False),
    ("p", True),
    ("d", False),
)
HATCHES = ("/////", "\\\\\\\\\\", "|||||", "-----", "xxxxx", "+++++", ".....", "ooo")
GREY = "#8c8c8c"
LOOKS = {
    "image": Look("#0072B2", 0),
    "cls": Look("#D55E00", 1),
    "class": Look("#009E73", 0),
    "context": Look("#CC79A7", 1),
    "attn": Look("#0072B2", 0),
    "mlp": Look("#D55E00", 1),
    "previous": Look("#000000", 2),
    "composition": Look("#009E73", 3),
    "ours": Look("#0072B2", 0),
    "chefer": Look("#D55E00", 1),
    "rollout": Look("#009E73", 2),
    "last_attention": Look("#CC79A7", 3),
    "probe": Look("#E69F00", 4),
    "random": Look(GREY, 5),
    "relu": Look("#56B4E9", 6),
    "attention_gradient": Look("#332288", 7),
    "legrad": Look("#882255", 8),
    "attnlrp": Look("#117733", 9),
    "grad_cam": Look("#AA4499", 10),
    "integrated_gradients": Look("#000000", 11),
    "logit": Look("#0072B2", 0),
    "tuned": Look("#009E73", 2),
}
COLOURS = {name: look.colour for name, look in LOOKS.items()} | {"reference": GREY}
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

STAR = "p < 0.05"
"""Start of the legend entries for stars."""


RANGE: dict[str, Any] = {"alpha": 0.35, "linewidth": 0}
"""Style of the hatched range of random twins, distinct from the shading of an interval."""

MOST_MARKERS = 15
"""Lines with twice as many points have a marker at every second one, and so on."""

NO_BREAK = "\N{NO-BREAK SPACE}"

MOST_LAYOUTS = 6
"""Maximum number of layouts of a figure: each one sizes panels anew, and ticks follow sizes."""

SETTLED = 0.002
"""Largest move of a panel in a layout that is final, relative to the figure."""

LEGEND_LINE = 0.14
"""Height of a line in legends, inches."""


INTERVAL = "interval"
"""Id (`gid`) of intervals, which the legend explains once for all panels."""


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
        settle(figure)
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


def band(axes: Axes, x: pl.Series, rows: pl.DataFrame, look: Look, *, label: str | None = None, style: str = "-") -> None:
    """Draw a line through the means of rows, with their intervals as shading (columns mean, low, high)."""
    every = max(1, len(rows) // MOST_MARKERS)
    axes.plot(x, rows["mean"], style, color=look.colour, label=label, markevery=(look.number % every, every), **look.marker)
    axes.fill_between(x, rows["low"], rows["high"], color=look.colour, alpha=0.18, linewidth=0, gid=INTERVAL)


def twin_band(axes: Axes, x: pl.Series, rows: pl.DataFrame, look: Look) -> None:
    """Draw the mean of a model's random twins dashed and their range hatched (columns of `series.twin_range`)."""
    if rows["twins_mean"].null_count() < len(rows):
        sign = {**look.marker, "markersize": 2, "markevery": max(1, len(rows) // 4)}
        axes.plot(x, rows["twins_mean"], "--", color=look.colour, linewidth=1, label=RANDOM_TWINS, **sign)
        axes.fill_between(x, rows["twins_low"], rows["twins_high"], facecolor="none", edgecolor=look.colour, hatch=look.hatch, **RANGE)


def chance_line(axes: Axes, x: pl.Series, rows: pl.DataFrame, look: Look, label: str) -> None:
    """Draw a series' chance level in each block dotted, with a small marker of the series (column chance)."""
    sign = {**look.marker, "markersize": 2, "markevery": max(1, len(rows) // 4)}
    axes.plot(x, rows["chance"], ":", color=look.colour, linewidth=1, label=label, **sign)


def count(numbers: pl.Series, unit: str) -> str:
    """Return a count for a title: `n = 200 images`, or `n = 3 to 9 images` if the numbers differ."""
    low, high = min(numbers), max(numbers)
    return f"n = {high} {unit}" if low == high else f"n = {low} to {high} {unit}"


def stars(axes: Axes, x: pl.Series, height: float, look: Look, of: str) -> None:
    """Draw a star for each significant block.

    Args:
        axes: where to draw.
        x: the blocks.
        height: place of the stars, as a fraction of the axes.
        look: of the series that is tested.
        of: the series' name in the legend.
    """
    if len(x):  # the layout counts a line without points as a point in the corner
        sign = {**look.marker, "marker": "*", "markersize": 5, "markeredgewidth": 0.6}
        place = axes.get_xaxis_transform()
        axes.plot(x, [height] * len(x), color=look.colour, linestyle="", clip_on=False, transform=place, label=f"{STAR}, {of}", **sign)


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


def legend_below(figure: Figure, panels: Axes | Sequence[Axes], columns: int = 4) -> None:
    """Draw one legend below all panels, with the entries of one or several panels, in as many columns as fit."""
    entries = legend_entries([panels] if isinstance(panels, Axes) else panels)
    for count in range(min(columns, len(entries)), 0, -1):
        legend = figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width < figure.bbox.width:
            break
        legend.remove()


def legend_entries(panels: Sequence[Axes]) -> dict[str, Any]:
    """Return the handles of the panels' legend by label, each label once: series, random twins, intervals, then stars."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    stars = {label: found.pop(label) for label in list(found) if label.startswith(STAR)}
    if found.pop(RANDOM_TWINS, None):
        line = Line2D([], [], color=GREY, linestyle="--", linewidth=1)
        found[RANDOM_TWINS] = (Patch(facecolor="none", edgecolor=GREY, hatch=HATCHES[0], **RANGE), line)
    intervals = [artist for axes in panels for artist in axes.collections if artist.get_gid() == INTERVAL]
    if intervals:
        bars = isinstance(intervals[0], LineCollection)
        found["95 % interval"] = Line2D([], [], color=GREY) if bars else Patch(color=GREY, alpha=0.3, linewidth=0)
    return found | stars


def groups_of_panels(
    groups: int, panels: int, width: float, height: float, *, lines: int, least: float = MIN_PANEL_WIDTH
) -> tuple[Figure, list[list[Axes]], list[Axes]]:
    """Return a figure with groups of panels, and under each group a place for its legend, to be filled by `legends_in`.

    Groups stand side by side if they fit, and below each other otherwise. The panels of a group stand below each other.

    Args:
        groups: number of groups.
        panels: number of panels of each group.
        width: of the figure, inches.
        height: of a panel, inches.
        lines: number of lines of a legend.
        least: minimum width of a panel, inches.

    Returns:
        the figure, the panels of each group, and the places.
    """
    across = groups if width >= groups * least else 1
    heights = [*[height] * panels, LEGEND_LINE * lines] * (groups // across)
    figure, grid = plt.subplots(len(heights), across, figsize=(width, sum(heights)), height_ratios=heights, squeeze=False)
    columns = [list(part) for column in grid.T for part in np.split(column, groups // across)]
    for column in columns:
        column[-1].axis("off")
    return figure, [column[:-1] for column in columns], [column[-1] for column in columns]


def legends_in(places: list[Axes], groups: list[list[Axes]]) -> None:
    """Draw the legend of each group of panels in its place."""
    for place, panels in zip(places, groups, strict=True):
        entries = legend_entries(panels)
        place.legend(entries.values(), entries.keys(), loc="upper right", borderaxespad=0)  # below the y label, too, if it is wide


def panels_per_row(panels: int, width: float, least: float = MIN_PANEL_WIDTH) -> int:
    """Return how many panels fit side by side in a figure of a width, if each needs at least `least` inches."""
    return max(1, min(panels, int(width / least)))


def settle(figure: Figure) -> None:
    """Lay a figure out and wrap its long texts, and fix the result, so that each format is written without another layout."""
    engine = figure.get_layout_engine()
    assert engine
    engine.execute(figure)
    wrap_texts(figure)
    places = _places(figure)
    for _ in range(MOST_LAYOUTS):
        engine.execute(figure)
        before, places = places, _places(figure)
        if np.abs(places - before).max() < SETTLED:
            break
    figure.set_layout_engine("none")


def _places(figure: Figure) -> np.ndarray:
    """Return the ends of all panels, [panel, end], relative to the figure."""
    return np.array([axes.get_position().extents for axes in figure.axes])


def wrap_texts(figure: Figure) -> None:
    """Wrap one-line titles and axis labels that are longer than their panel; a y label may be a quarter longer."""
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        box = axes.get_window_extent()
        titles = [child for child in axes.get_children() if isinstance(child, Text)]
        for text, side in (*((title, box.width) for title in titles), (axes.xaxis.label, box.width), (axes.yaxis.label, 1.25 * box.height)):
            _wrap(text, side)


def _wrap(text: Text, side: float) -> None:
    words = text.get_text()
    extent = text.get_window_extent()
    if words and "\n" not in words and (length := max(extent.width, extent.height)) > side:
        together = re.sub(r"n = \d+|\d+ (images|classes)", lambda found: found[0].replace(" ", NO_BREAK), words)
        lines = textwrap.fill(together, max(1, int(0.9 * len(words) * side / length)), break_long_words=False)
        text.set_text(lines.replace(NO_BREAK, " "))


def grid_of_panels(
    count: int, width: float, height: float, columns: int, *, share_x: bool = True, least: float = MIN_PANEL_WIDTH
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its `count` panels, which share their axes, in as many of the columns as fit; spare places stay empty."""
    columns = panels_per_row(min(columns, count), width, least)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), sharex=share_x, sharey=True, squeeze=False)
    for panel in axes.ravel()[:count]:
        panel.tick_params(labelbottom=True)
    for spare in axes.ravel()[count:]:
        spare.set_visible(False)
    return figure, list(axes.ravel()[:count])
