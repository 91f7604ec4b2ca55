"""Curves over blocks, shared by several figures."""

import matplotlib.pyplot as plt
import polars as pl
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.figures.canvas import Look
from classlens.presentation.series import Series, beside_twins, block_means, labelled, models_only, twins
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS


def same_depth(frame: pl.DataFrame) -> bool:
    """Return whether all models of a figure have the same number of blocks, so that panels can share their x axis."""
    return frame.group_by("model").agg(pl.col("block").max())["block"].n_unique() == 1


def looks(frame: pl.DataFrame) -> dict[str, Look]:
    """Return a look per model."""
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    return {model: Look(cycle[number % len(cycle)], number) for number, model in enumerate(frame["model"].unique(maintain_order=True))}


def per_model(axes: Axes, frame: pl.DataFrame, all_models: pl.DataFrame) -> None:
    """Draw a line with its interval per model over column `x`, and its random twins dashed in the same colour.

    Args:
        axes: where to draw.
        frame: rows (model, block) with x, mean, low, high, label and the columns of `series.twin_range`.
        all_models: rows of all models of the figure, so that looks agree between panels.
    """
    look_of = looks(all_models)
    for (model,), rows in frame.group_by("model", maintain_order=True):
        canvas.band(axes, rows["x"], rows, look_of[str(model)], label=rows["label"][0])
        canvas.twin_band(axes, rows["x"], rows, look_of[str(model)])


def x_axis(axes: Axes, frame: pl.DataFrame) -> None:
    """Label an x axis of blocks, or of relative depth if the models differ in depth."""
    if frame["relative"][0]:
        axes.set_xlabel("relative depth")
    else:
        canvas.block_axis(axes)


def model_panels(frame: pl.DataFrame, width: float, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """Return a figure with an empty panel per model over blocks, titled with its label and, if known, its number of images or classes."""
    models = frame["model"].unique(maintain_order=True)
    figure, panels = canvas.grid_of_panels(len(models), width, 2.6, columns, share_x=same_depth(frame))
    for axes, model in zip(panels, models, strict=True):
        rows = frame.filter(model=model)
        units = [name for name in ("images", "classes") if name in rows.columns]
        axes.set_title(rows["label"][0] + "".join(f" ({canvas.count(rows[unit], unit)})" for unit in units[:1]))
        axes.margins(y=0.15)
        canvas.block_axis(axes)
    return figure, panels


def layer_rates(series: list[Series], chances: list[pa.Table], measure: str, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return the shares of tokens in columns `attn` and `mlp` in per cent, beside chance and random twins.

    Args:
        series: models and their random twins.
        chances: table of chance levels of each model (`agreement.MemoryUse.chance`).
        measure: column of `chances`.
        protocol: says whether the tokens `cls` of models without [CLS] are their first tokens.
        seed: seed of the resampling.

    Returns:
        rows (model, layer, tokens, block) with the share and its 95 % interval over images, chance, the columns of `twin_range`, and
        tokens_name, the tokens' name in titles.
    """
    chance_of = {item.name: pl.DataFrame(table) for item, table in zip(series, chances, strict=True)}
    frames = []
    for item in models_only(series):
        for layer in SUBLAYERS:
            means = statistics.by_block(item.frame, layer, seed, "share")
            means = beside_twins(means, [block_means(other.frame, layer) for other in twins(item, series)], ["tokens", "block"])
            chance = chance_of[item.name].filter(layer=layer).select("tokens", "block", pl.col(measure).alias("chance"))
            means = means.join(chance, on=["tokens", "block"], how="left", maintain_order="left")
            percent = means.with_columns(pl.col("mean", "low", "high", "chance", "^twins_.*$") * 100)
            frames.append(labelled(percent.select(pl.lit(layer).alias("layer"), pl.all()), item))
    first = {"cls": "first token"} if protocol.drop_first_patch_of_pooled else {}
    return pl.concat(frames).with_columns(tokens_name=pl.col("tokens").replace_strict(canvas.NAMES | first))


def draw_layer_rates(frame: pl.DataFrame, width: float, label: str) -> Figure:
    """Draw a panel per model and kind of tokens, a line per layer over blocks, its random twins dashed and chance dotted."""
    groups = list(frame.group_by("model", "tokens", maintain_order=True))
    groups.sort(key=lambda group: frame["model"].unique(maintain_order=True).to_list().index(group[0][0]))
    figure, panels = canvas.grid_of_panels(len(groups), width, 2.4, 2, share_x=same_depth(frame))
    for axes, (_, rows) in zip(panels, groups, strict=True):
        for (layer,), part in rows.group_by("layer", maintain_order=True):
            x, look = part["block"] + 1, canvas.LOOKS[str(layer)]
            canvas.band(axes, x, part, look, label=canvas.NAMES[str(layer)])
            canvas.twin_band(axes, x, part, look)
            canvas.chance_line(axes, x, part, look, f"{canvas.NAMES[str(layer)]}, chance")
        axes.set_title(f"{rows['label'][0]}: {rows['tokens_name'][0]} ({canvas.count(rows['images'], 'images')})")
        axes.margins(y=0.1)
        canvas.block_axis(axes)
    figure.supylabel(label, fontsize=8)
    canvas.legend_below(figure, panels)
    return figure
