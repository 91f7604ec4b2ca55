"""F13: how often linear probes and the projection onto the class embedding find the class in the output of each block.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.1.
"""

import json

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.figures.deletion_curves import curve, share_removed
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import ORDER_NAMES

STYLES = {"cls": "--", "image": "-", "negative": "-", "positive": "--"}
TITLES = {"accuracy": "reading the class", "deletion": "removing tokens"}
METHODS = {"probe": "linear probe", "ours": "projection (ours)", "tuned": "tuned lens"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, panel, method, group, x) with mean, 95 % interval over images and chance (1 / classes), in per cent.

    In panel `accuracy`, group is the kind of token (`cls`, `image`) and x the block. In panel `deletion`, group is the order and x the
    share of removed image tokens in per cent; this panel needs deletion curves of all models.
    """
    is_position = pl.col("tokens").is_in(["cls", "image"])
    frames = []
    for index, item in enumerate(series):
        measured = {"probe": per_image(item)}
        if inputs["identifiability"]:
            measured["ours"] = pl.DataFrame(inputs["identifiability"][index])
        if inputs["tuned_lens"]:
            measured["tuned"] = pl.DataFrame(inputs["tuned_lens"][index]).rename({"tuned_first": "first"}).filter(is_position)
        for method, frame in measured.items():
            means = statistics.by_block(frame, "first", seed, "share").rename({"tokens": "group", "block": "x"})
            frames.append(_panel("accuracy", method, means, item))
        if inputs["deletion"]:
            curves = (
                pl.DataFrame(inputs["deletion"][index]).with_columns(x=share_removed(item)).rename({"order": "group", "accuracy": "mean"})
            )
            for method in ("probe", "ours"):
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
    """Draw accuracy over blocks, a panel per model, and deletion curves beside it if present; in a narrow figure these go below."""
    models, panels = frame["model"].unique(maintain_order=True), frame["panel"].unique(maintain_order=True)
    figure, groups, places = canvas.groups_of_panels(len(panels), len(models), width, 2.1, lines=6)
    for of_panel, panel in zip(groups, panels, strict=True):
        for axes, model in zip(of_panel, models, strict=True):
            rows = frame.filter(model=model, panel=panel)
            (_accuracy if panel == "accuracy" else _deletion)(axes, rows)
            canvas.reference_line(axes, rows["chance"][0], "chance")
            axes.set_title(f"{rows['label'][0]}: {TITLES[panel]} ({canvas.count(rows['images'], 'images')})")
            axes.set_ylim(-3, 103)
    canvas.legends_in(places, groups)
    return figure


def _accuracy(axes: Axes, rows: pl.DataFrame) -> None:
    for (method, group), part in rows.group_by("method", "group", maintain_order=True):
        name = f"{METHODS[str(method)]}, {canvas.NAMES[str(group)]}"
        canvas.band(axes, part["x"] + 1, part, canvas.LOOKS[str(method)], label=name, style=STYLES[str(group)])
    axes.set_ylabel("class first (% of tokens)")
    canvas.block_axis(axes)


def _deletion(axes: Axes, rows: pl.DataFrame) -> None:
    for (method, group), part in rows.group_by("method", "group", maintain_order=True):
        name = f"{METHODS[str(method)]}, {ORDER_NAMES[str(group)]}"
        curve(axes, part.rename({"x": "share"}), canvas.LOOKS[str(method)], style=STYLES[str(group)], label=name)
    axes.set_xlabel("image tokens removed (%)")
    axes.set_ylabel("accuracy (%)")
