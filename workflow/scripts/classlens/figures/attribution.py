"""F15: what each head and each MLP writes directly into the logit of the true class.

Source: Elhage et al., 2021; Gandelsman, Efros & Steinhardt, ICLR 2024.
"""

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classlens import statistics
from classlens.figures import canvas
from classlens.figures.heads import axes_of_heads, scale
from classlens.presentation.effects import by_component
from classlens.presentation.series import Inputs, Series, labelled
from classlens.presentation.texts import number
from classlens.protocol import Protocol

PARTS = {"heads": "all heads", "mlp": "MLP"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (part, block, head): mean over images of what the part adds to the logit of the true class, with its 95 % interval.

    Parts are `embedding`, `head`, `heads` (all heads of a block), `mlp` and `biases`. Logits are relative to the mean over classes. Blocks
    and heads count from 0; they are null for parts that have none.
    """
    (item,) = series
    frame = item.frame.cast({"component": pl.String})
    of_heads = frame.filter(component="head").group_by("image_id", "block").agg(pl.lit("heads").alias("component"), pl.col("logit").sum())
    every = pl.concat([frame, of_heads.with_columns(pl.lit(-1, pl.Int16).alias("head"))], how="diagonal_relaxed")
    keys = ["component", "block", "head"]
    places, logits = by_component(every, keys, "logit")
    found = statistics.mean_interval(logits, seed, "mean")
    place = [pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in ("block", "head")]
    columns = {"mean": found.mean, "low": found.low, "high": found.high, "images": found.n}
    return labelled(places.select(pl.col("component").alias("part"), *place).with_columns(**columns), item)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw the heads as a map, and all heads and the MLP of each block as lines beside it, or below it in a narrow figure."""
    heads = frame.filter(part="head").sort("block", "head")
    blocks, count = (heads[name].n_unique() for name in ("block", "head"))
    means = heads["mean"].to_numpy().reshape(blocks, count).T
    across = canvas.panels_per_row(2, width)
    figure, panels = plt.subplots(2 // across, across, figsize=(width, 2.6 * (2 // across)), squeeze=False)
    of_heads, of_layers = panels.ravel()
    largest = np.abs(means).max()
    drawn = of_heads.imshow(means, cmap=canvas.DIVERGING, vmin=-largest, vmax=largest, interpolation="nearest", aspect="auto")
    axes_of_heads(of_heads, blocks, count, (1, 1))
    scale(figure, drawn, of_heads, "logit added by a head")
    _layers(of_layers, frame)
    canvas.legend_below(figure, of_layers, columns=3)
    said = ", ".join(f"{part} {number(frame.filter(part=part)['mean'][0])}" for part in ("embedding", "biases"))
    figure.suptitle(f"{frame['label'][0]} ({canvas.count(frame['images'], 'images')}); {said}", fontsize=8)
    return figure


def _layers(axes: Axes, frame: pl.DataFrame) -> None:
    for part, look in (("heads", "attn"), ("mlp", "mlp")):
        rows = frame.filter(part=part).sort("block")
        canvas.band(axes, rows["block"] + 1, rows, canvas.LOOKS[look], label=PARTS[part])
    canvas.reference_line(axes, 0)
    axes.set_ylabel("logit added")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    canvas.block_axis(axes)
