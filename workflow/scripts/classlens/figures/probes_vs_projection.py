"""F13: how often linear probes and the projection onto the class embedding find the class in the output of each block.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.1.
"""

import json

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.figures.deletion_curves import share_removed
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import ORDER_NAMES

STYLES = {"cls": "--", "image": "-"}
METHODS = {"probe": "linear probe", "ours": "projection (ours)"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, panel, method, group, x) with mean, 95 % interval over images and chance (1 / classes), in per cent.

    In panel `accuracy`, group is the kind of token (`cls`, `image`) and x the block. In panel `deletion`, group is the order and x the
    share of removed image tokens in per cent; this panel needs deletion curves of all models.
    """
    frames = []
    for index, item in enumerate(series):
        measured = {"probe": per_image(item)}
        if inputs["identifiability"]:
            measured["ours"] = pl.DataFrame(inputs["identifiability"][index])
        for method, frame in measured.items():
            means = statistics.by_block(frame, "first", seed, "share").rename({"tokens": "group", "block": "x"})
            frames.append(_panel("accuracy", method, means, item))
        if inputs["deletion"]:
            curves = (
                pl.DataFrame(inputs["deletion"][index]).with_columns(x=share_removed(item)).rename({"order": "group", "accuracy": "mean"})
            )
            for method in METHODS:
                frames.append(_panel("deletion", method, curves.filter(method=method), item))
    return pl.concat(frames).with_columns(pl.col("mean", "low", "high", "chance") * 100)


def per_image(item: Series) -> pl.DataFrame:
    """Return rows (tokens, image, block): share of tokens at whose block output the token's own probe ranks the class first, and n."""
    first = int(item.metadata["prefix_tokens"])
    is_cls = (pl.col("token") == 0) & json.loads(item.metadata["cls_token"])
    kind = pl.when(pl.col("token") >= first).then(pl.lit("image")).when(is_cls).then(pl.lit("cls"))
    outputs = item.frame.filter(pl.col("site").cast(pl.String) == "resid_post").with_columns(tokens=kind).drop_nulls("tokens")
    shares = outputs.group_by("tokens", "image_id", "block").agg((pl.col("rank") == 0).mean().alias("first"), pl.len().alias("n"))
    return shares.sort("tokens", "image_id", "block")


def _panel(panel: str, method: str, frame: pl.DataFrame, item: Series) -> pl.DataFrame:
    columns = frame.select(
        pl.lit(panel).alias("panel"),
        pl.lit(method).alias("method"),
        pl.col("group").cast(pl.String),
        pl.col("x").cast(pl.Float64),
        "mean",
        "low",
        "high",
        pl.col("images").cast(pl.Int64),
        pl.lit(1 / item.classes).alias("chance"),
    )
    return labelled(columns, item)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per model: accuracy over blocks, and deletion curves if present; in a narrow figure these go below."""
    models, panels = frame["model"].unique(maintain_order=True), frame["panel"].unique(maintain_order=True)
    beside = canvas.panels_per_row(len(panels), width) == len(panels)
    deep, across = (len(models), len(panels)) if beside else (len(models) * len(panels), 1)
    size = (width, 0.4 + 2.4 * deep)
    figure, grid = plt.subplots(deep, across, figsize=size, squeeze=False, sharex="col" if beside else False)
    grid = grid if beside else grid.reshape(len(panels), len(models)).T
    for row, model in zip(grid, models, strict=True):
        rows = frame.filter(model=model)
        _accuracy(row[0], rows.filter(panel="accuracy"))
        row[0].set_title(f"{rows['label'][0]} (n = {rows['images'][0]} images)")
        if len(panels) > 1:
            _deletion(row[1], rows.filter(panel="deletion"))
            row[1].set_title("removing tokens" if beside else f"{rows['label'][0]}, removing tokens")
    grid[-1, 0].set_xlabel("block")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("image tokens removed (%)")
    for column in grid.T:
        widest = max(column, key=lambda axes: len(axes.get_legend_handles_labels()[1]))
        column[-1].legend(*widest.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _accuracy(axes: Axes, rows: pl.DataFrame) -> None:
    for (method, group), part in rows.group_by("method", "group", maintain_order=True):
        name = f"{METHODS[str(method)]}, {canvas.NAMES[str(group)]}"
        canvas.band(axes, part["x"] + 1, part, canvas.COLOURS[str(method)], label=name, style=STYLES[str(group)])
    canvas.reference_line(axes, rows["chance"][0], "chance")
    axes.set_ylabel("class first (% of tokens)")


def _deletion(axes: Axes, rows: pl.DataFrame) -> None:
    for (method, group), part in rows.group_by("method", "group", maintain_order=True):
        name = f"{METHODS[str(method)]}, {ORDER_NAMES[str(group)]}"
        axes.plot(part["x"], part["mean"], "-" if group == "negative" else "--", color=canvas.COLOURS[str(method)], label=name)
        axes.fill_between(
            part["x"], part["low"], part["high"], color=canvas.COLOURS[str(method)], alpha=0.15, linewidth=0, gid=canvas.INTERVAL
        )
    canvas.reference_line(axes, rows["chance"][0], "chance")
    axes.set_ylabel("accuracy (%)")
