"""F12: accuracy as image tokens are removed in the order of each relevance map.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import json
import math

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from classlens.figures import canvas
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import ORDER_NAMES, ORDERS


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method, order, removed): share of tokens removed, accuracy with 95 % interval, and chance, in per cent."""
    frames = []
    for item in series:
        percent = item.frame.rename({"accuracy": "mean"}).with_columns(pl.col("mean", "low", "high") * 100, share=share_removed(item))
        frames.append(labelled(percent.drop("seed", "protocol").with_columns(chance=pl.lit(100 / item.classes)), item))
    return pl.concat(frames)


def share_removed(item: Series) -> pl.Expr:
    """Return column `removed` of a model's curves as an expression in per cent of its image tokens."""
    return 100 * pl.col("removed") / math.prod(json.loads(item.metadata["grid"]))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per model, a column per order, a line per method."""
    models = frame["model"].unique(maintain_order=True)
    figure, grid = plt.subplots(len(models), 2, figsize=(width, 0.5 + 2.2 * len(models)), sharex=True, sharey="row", squeeze=False)
    for row, model in zip(grid, models, strict=True):
        rows = frame.filter(model=model)
        for axes, order in zip(row, ORDERS, strict=True):
            for (method,), part in rows.filter(order=order).group_by("method", maintain_order=True):
                style = "--" if method == "random" else "-"
                axes.plot(part["share"], part["mean"], style, color=canvas.COLOURS[str(method)], label=canvas.NAMES[str(method)])
                axes.fill_between(
                    part["share"],
                    part["low"],
                    part["high"],
                    color=canvas.COLOURS[str(method)],
                    alpha=0.12,
                    linewidth=0,
                    gid=canvas.INTERVAL,
                )
            canvas.reference_line(axes, rows["chance"][0], "chance")
            axes.set_title(f"{rows['label'][0]}: {ORDER_NAMES[order]} (n = {rows['images'][0]})")
        row[0].set_ylabel("accuracy (%)")
    for axes in grid[-1]:
        axes.set_xlabel("image tokens removed (%)")
    canvas.legend_below(figure, max(grid.ravel(), key=lambda axes: len(axes.get_legend_handles_labels()[1])), columns=3)
    return figure
