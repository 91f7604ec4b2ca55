"""F2: mean class identifiability of [CLS] and image tokens over blocks, for all models.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens import statistics
from classlens.analyses.identifiability import chance
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, beside_twins, block_means, depth_axis, labelled, models_only, paired_blocks, twins
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, tokens, block): the mean over images with its 95 % interval, beside chance and random twins.

    Column `x` is the block, or the relative depth if the models differ in depth.
    """
    relative = depth_axis(series, protocol)
    frames = []
    for item in models_only(series):
        mine, *theirs = (_averaged(one.frame, protocol) for one in (item, *twins(item, series)))
        means = statistics.by_block(mine, "identifiability", seed, "share")
        means = beside_twins(means, [block_means(frame, "identifiability") for frame in theirs], ["tokens", "block"])
        depth = (pl.col("block") + 1) / pl.col("block").max().add(1)
        x = depth if relative else pl.col("block") + 1
        frames.append(labelled(means.with_columns(x.cast(pl.Float64).alias("x"), pl.lit(chance(item.classes)).alias("chance")), item))
    return pl.concat(frames).with_columns(relative=pl.lit(relative))


def _averaged(frame: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    return paired_blocks(frame, "identifiability") if protocol.pair_blocks_of_deep_models else frame


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw one panel per group of tokens, one line per model, its random twins dashed in the model's colour."""
    groups = [name for name in ("cls", "image") if name in frame["tokens"]]
    figure, panels = canvas.grid_of_panels(len(groups), width, 2.7, 2)
    for axes, tokens in zip(panels, groups, strict=True):
        rows = frame.filter(tokens=tokens)
        curves.per_model(axes, rows, all_models=frame)
        for level in frame["chance"].unique().sort():
            canvas.reference_line(axes, level, "chance")
        curves.x_axis(axes, frame)
        axes.set_title(f"{canvas.NAMES[tokens]} ({canvas.count(rows['images'], 'images')})")
    panels[0].set_ylabel("class identifiability")
    canvas.legend_below(figure, panels)
    return figure
