"""F15, all models: how much of the logit of the true class heads and MLPs have written, up to each block.

Source: Elhage et al., 2021; Gandelsman, Efros & Steinhardt, ICLR 2024.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, beside_twins, depth_axis, labelled
from classlens.protocol import Protocol

PARTS = {"head": "heads", "mlp": "MLPs"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, part, block): what all heads or all MLPs up to the block add to the logit of the true class.

    Values are means over images with 95 % intervals, relative to the mean over classes. Column `x` is the block, or the relative depth if
    the models differ in depth.
    """
    relative = depth_axis(series, Protocol.named("corrected"))
    frames = []
    for item in series:
        frame = item.frame.cast({"component": pl.String})
        for part in PARTS:
            of_blocks = frame.filter(component=part).group_by("image_id", "block").agg(pl.col("logit").sum())
            written = statistics.matrix(of_blocks, "logit").cumsum(axis=1)
            found = statistics.mean_interval(written, seed, "mean")
            columns = {"mean": found.mean, "low": found.low, "high": found.high, "images": found.n}
            rows = pl.DataFrame({"part": part, "block": of_blocks["block"].unique().sort(), **columns})
            x = (pl.col("block") + 1) / (item.depth if relative else 1)
            frames.append(labelled(beside_twins(rows.with_columns(x.cast(pl.Float64).alias("x")), [], ["block"]), item))
    return pl.concat(frames).with_columns(relative=pl.lit(relative))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel for heads and one for MLPs, one line per model."""
    figure, panels = canvas.grid_of_panels(len(PARTS), width, 2.6, 2)
    for axes, (part, name) in zip(panels, PARTS.items(), strict=True):
        rows = frame.filter(part=part)
        curves.per_model(axes, rows, all_models=frame)
        canvas.reference_line(axes, 0)
        curves.x_axis(axes, frame)
        axes.set_title(f"{name} ({canvas.count(rows['images'], 'images')})")
    panels[0].set_ylabel("logit written so far")
    canvas.legend_below(figure, panels)
    return figure
