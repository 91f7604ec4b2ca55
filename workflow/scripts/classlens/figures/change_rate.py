"""F3: share of image tokens whose true-class logit grows in each block, for all models.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, beside_twins, block_means, depth_axis, labelled, models_only, twins
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, block), from the second block on: the share in per cent, its 95 % interval over images, and its random twins."""
    relative = depth_axis(series, Protocol.named("corrected"))
    frames = []
    for item in models_only(series):
        mine, *theirs = (one.frame.filter(tokens="image") for one in (item, *twins(item, series)))
        means = statistics.by_block(mine, "change_rate", seed, "share")
        means = beside_twins(means, [block_means(frame, "change_rate") for frame in theirs], ["tokens", "block"])
        percent = means.with_columns(pl.col("mean", "low", "high", "^twins_.*$") * 100)
        x = (pl.col("block") + 1) / (item.depth if relative else 1)
        frames.append(labelled(percent.with_columns(x.cast(pl.Float64).alias("x")), item))
    return pl.concat(frames).with_columns(relative=pl.lit(relative))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw one line per model, its random twins dashed in the model's colour."""
    figure, axes = plt.subplots(figsize=(width, 2.9))
    curves.per_model(axes, frame, all_models=frame)
    curves.x_axis(axes, frame)
    axes.set_title(canvas.count(frame["images"], "images"))
    axes.set_ylabel("tokens with growing class logit (%)")
    canvas.legend_below(figure, axes)
    return figure
