"""F8: class-value and key-value agreement of all models side by side.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3.
"""

from itertools import product

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.figures.canvas import Look
from classlens.presentation.series import Inputs, Series, beside_twins, block_means, depth_axis, labelled, models_only, paired_blocks, twins
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS

MEASURES = {"class_value": "class-value (cosine,\nmean over classes)", "key_value": "key-value (% of tokens,\nmean over classes)"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, measure, layer, block): the mean with its 95 % interval over classes, beside chance and random twins.

    Classes are the units of both measures. For `key_value`, the images of a class weigh by their numbers of tokens. `class_value` has no
    chance level; compare it with the random twins.
    """
    relative = depth_axis(series, protocol)
    class_values = {item.name: pl.DataFrame(table) for item, table in zip(series, inputs["class_value"], strict=True)}
    chances = {item.name: pl.DataFrame(table) for item, table in zip(series, inputs["chance"], strict=True)}
    frames = []
    for item in models_only(series):
        for measure, layer in product(MEASURES, SUBLAYERS):
            mine, *theirs = (
                _paired(_values(one, class_values[one.name], measure, layer), protocol) for one in (item, *twins(item, series))
            )
            kind = "mean" if measure == "class_value" else "share"
            means = statistics.by_block(mine, "value", seed, kind).rename({"images": "classes"})
            means = beside_twins(means, [block_means(frame, "value") for frame in theirs], ["tokens", "block"])
            level = _paired(_chance(chances[item.name], measure, layer), protocol).select("block", pl.col("value").alias("chance"))
            depth = (pl.col("block") + 1) / (pl.col("block").max().add(1) if relative else 1)
            columns = [pl.lit(measure).alias("measure"), pl.lit(layer).alias("layer")]
            rows = means.join(level, on="block", how="left", maintain_order="left")
            if measure == "key_value":
                rows = rows.with_columns(pl.col("mean", "low", "high", "chance", "^twins_.*$") * 100)
            frames.append(labelled(rows.select(*columns, pl.exclude("tokens"), depth.cast(pl.Float64).alias("x")), item))
    return pl.concat(frames).with_columns(relative=pl.lit(relative))


def _values(item: Series, class_value: pl.DataFrame, measure: str, layer: str) -> pl.DataFrame:
    """Return a layer's measure in the form that `statistics` expects, with classes as images: columns value and n, 1 for each class."""
    if measure == "class_value":
        rows = class_value.filter(layer=layer).select("block", pl.col("class_index").alias("image_id"), pl.col("agreement").alias("value"))
        return rows.with_columns(tokens=pl.lit("all"), n=pl.lit(1))
    share, n = pl.col(layer), pl.col("n")
    of_class = item.frame.filter(tokens="all").group_by("tokens", "class_index", "block", maintain_order=True)
    return of_class.agg(((share * n).sum() / n.sum()).alias("value"), n=pl.lit(1)).rename({"class_index": "image_id"})


def _chance(chances: pl.DataFrame, measure: str, layer: str) -> pl.DataFrame:
    """Return the chance level of a layer's measure in the form of `_values`, as a single class."""
    rows = chances.filter(tokens="all", layer=layer)
    value = pl.col("key_value") if measure == "key_value" else pl.lit(None, pl.Float64)
    return rows.select("tokens", "block", value.alias("value"), pl.lit(0).alias("image_id"), pl.lit(1).alias("n"))


def _paired(frame: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    return paired_blocks(frame, "value") if protocol.pair_blocks_of_deep_models else frame


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per measure, a column per layer, a line per model, its random twins dashed and chance dotted."""
    figure, grid = plt.subplots(2, 2, figsize=(width, 4.6), sharex=True, sharey="row")
    for row, (measure, title) in zip(grid, MEASURES.items(), strict=True):
        for axes, layer in zip(row, SUBLAYERS, strict=True):
            rows = frame.filter(measure=measure, layer=layer)
            curves.per_model(axes, rows, all_models=frame)
            _draw_chance(axes, rows, curves.looks(frame))
            axes.set_title(f"{canvas.NAMES[layer]} ({canvas.count(rows['classes'], 'classes')})")
        row[0].set_ylabel(title)
    for axes in grid[1]:
        curves.x_axis(axes, frame)
    canvas.legend_below(figure, grid.ravel())
    return figure


def _draw_chance(axes: Axes, rows: pl.DataFrame, look_of: dict[str, Look]) -> None:
    for (model,), part in rows.drop_nulls("chance").group_by("model", maintain_order=True):
        canvas.chance_line(axes, part["x"], part, look_of[str(model)], "chance")
