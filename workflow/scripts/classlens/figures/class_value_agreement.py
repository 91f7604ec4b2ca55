"""F6: how well the values of each layer's memories agree with classes, against random weights.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3; methods, section 5.
"""

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from scipy.stats import wilcoxon

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.groups import LAYERS
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series, labelled


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, layer, block): mean agreement over classes with its 95 % interval, that of random weights, and p of exceeding it.

    p is that of a one-sided Wilcoxon test over classes, corrected over blocks by Holm's method unless the protocol is `paper`; null for a
    model without a twin.
    """
    frames = []
    for item in series:
        classes = item.frame.rename({"layer": "tokens", "class_index": "image_id"}).with_columns(n=pl.lit(1))
        means = statistics.by_block(classes, "agreement", seed).rename({"tokens": "layer", "images": "classes"})
        if item.frame["random_agreement"].null_count():
            means = means.with_columns(random_mean=pl.lit(None, pl.Float64), p=pl.lit(None, pl.Float64))
        else:
            random = item.frame.group_by("layer", "block").agg(pl.col("random_agreement").mean().cast(pl.Float64).alias("random_mean"))
            means = means.join(random, on=["layer", "block"]).join(_tests(item.frame, protocol), on=["layer", "block"])
        frames.append(labelled(means.sort("layer", "block"), item))
    return pl.concat(frames)


def _tests(frame: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    parts = []
    for layer in LAYERS:
        rows = frame.filter(layer=layer)
        blocks = rows["block"].unique().sort()
        pairs = [rows.filter(block=block).select("agreement", "random_agreement").to_numpy().T for block in blocks]
        p = np.array([wilcoxon(trained, random, alternative="greater").pvalue for trained, random in pairs])
        parts.append(pl.DataFrame({"layer": layer, "block": blocks, "p": p if protocol.tokens_as_units else statistics.holm(p)}))
    return pl.concat(parts)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """A panel per model, a line per layer, random weights dashed, stars where p < 0.05."""
    figure, panels = curves.model_panels(frame, width)
    for axes, (_, rows) in zip(panels, frame.group_by("model", maintain_order=True), strict=True):
        for height, layer in zip((0.97, 0.92), LAYERS, strict=True):
            part = rows.filter(layer=layer)
            canvas.band(axes, part["block"] + 1, part, canvas.COLOURS[layer], canvas.NAMES[layer])
            axes.plot(
                part["block"] + 1, part["random_mean"], "--", color=canvas.COLOURS[layer], label=f"{canvas.NAMES[layer]}, random weights"
            )
            canvas.stars(axes, part.filter(pl.col("p") < statistics.SIGNIFICANT)["block"] + 1, height, canvas.COLOURS[layer])
    panels[0].set_ylabel("class-value agreement")
    canvas.legend_below(figure, panels[-1])
    return figure
