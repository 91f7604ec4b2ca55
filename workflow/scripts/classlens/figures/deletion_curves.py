"""F12: accuracy as image tokens are removed in the order of each relevance map.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import json
import math

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import canvas
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import ORDER_NAMES, ORDERS

MARKERS = 5
"""Minimum number of markers on a curve, if it has as many points."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method, order, removed), in per cent: share of tokens removed, accuracy with 95 % interval, and chance.

    The mean probability of the true class, with its interval, is not drawn.
    """
    frames = []
    for item in series:
        values = pl.col("mean", "low", "high", "probability", "probability_low", "probability_high")
        percent = item.frame.rename({"accuracy": "mean"}).with_columns(values * 100, share=share_removed(item))
        frames.append(labelled(percent.drop("seed", "protocol").with_columns(chance=pl.lit(100 / item.classes)), item))
    return pl.concat(frames)


def share_removed(item: Series) -> pl.Expr:
    """Return column `removed` of a model's curves as an expression in per cent of its image tokens."""
    return 100 * pl.col("removed") / math.prod(json.loads(item.metadata["grid"]))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per model, a column per order, a line per method; in a narrow figure the second order is below the first."""
    models = frame["model"].unique(maintain_order=True)
    figure, groups, places = canvas.groups_of_panels(len(ORDERS), len(models), width, 2.1, lines=frame["method"].n_unique() + 2)
    for panels, order in zip(groups, ORDERS, strict=True):
        of_order = frame.filter(order=order)
        methods = by_right_end(of_order)
        for axes, model in zip(panels, models, strict=True):
            rows = of_order.filter(model=model)
            for method in (name for name in methods if name in rows["method"]):
                style = "--" if method == "random" else "-"
                curve(axes, rows.filter(method=method), canvas.LOOKS[method], style=style, label=canvas.NAMES[method])
            canvas.reference_line(axes, rows["chance"][0], "chance")
            axes.set_title(f"{rows['label'][0]}: {ORDER_NAMES[order]} ({canvas.count(rows['images'], 'images')})")
            axes.set_xlabel("image tokens removed (%)")
            axes.set_ylabel("accuracy (%)")
            axes.set_ylim(-3, 103)
    canvas.legends_in(places, groups)
    return figure


def by_right_end(frame: pl.DataFrame) -> list[str]:
    """Return the methods of curves from the highest to the lowest at their right end, before all tokens are removed, on average."""
    before = frame.filter(pl.col("share") < 100)
    ends = before.filter(pl.col("share") == pl.col("share").max().over("model", "method"))
    return ends.group_by("method").agg(pl.col("mean").mean()).sort(-pl.col("mean"), "method")["method"].to_list()


def curve(axes: Axes, rows: pl.DataFrame, look: canvas.Look, *, style: str, label: str) -> None:
    """Draw the accuracy of one order over the share of removed tokens, with its interval (columns share, mean, low, high)."""
    every = max(1, len(rows) // MARKERS)  # shifted, because markers of curves that coincide would hide each other
    place = (look.number % every, every)
    axes.plot(rows["share"], rows["mean"], style, color=look.colour, label=label, markevery=place, **look.marker)
    axes.fill_between(rows["share"], rows["low"], rows["high"], color=look.colour, alpha=0.12, linewidth=0, gid=canvas.INTERVAL)
