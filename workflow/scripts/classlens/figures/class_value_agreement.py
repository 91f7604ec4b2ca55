"""F6: how well the values of each layer's memories agree with classes, compared with random weights.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3.
"""

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from scipy.stats import mannwhitneyu, wilcoxon

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, beside_twins, block_means, labelled, models_only, twins
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, layer, block): mean agreement over classes with its 95 % interval, beside random twins, and p.

    p is from a two-sided Mann-Whitney test of the model's classes against the classes of all its twins, corrected over blocks by Holm's
    method, and null for fewer than two twins. In the protocol `paper`, p is from a one-sided Wilcoxon test against the first twin, paired
    by class and not corrected.
    """
    frames = []
    for item in models_only(series):
        mine, *theirs = (by_class(one) for one in (item, *twins(item, series)))
        means = statistics.by_block(mine, "agreement", seed, "mean").rename({"images": "classes"})
        means = beside_twins(means, [block_means(frame, "agreement") for frame in theirs], ["tokens", "block"])
        tested = means.join(_tests(mine, theirs, protocol), on=["tokens", "block"], how="left").rename({"tokens": "layer"})
        frames.append(labelled(tested.sort("layer", "block"), item))
    return pl.concat(frames)


def by_class(item: Series) -> pl.DataFrame:
    """Return a model's agreements in the form that `statistics` expects: layers as groups of tokens, classes as images."""
    return item.frame.rename({"layer": "tokens", "class_index": "image_id"}).with_columns(n=pl.lit(1))


def _tests(mine: pl.DataFrame, theirs: list[pl.DataFrame], protocol: Protocol) -> pl.DataFrame:
    """Return rows (tokens, block) with p; column `tokens` holds the layer."""
    parts = []
    for layer in SUBLAYERS:
        values, *others = (statistics.matrix(frame.filter(tokens=layer), "agreement") for frame in (mine, *theirs))
        if protocol.paired_classes:
            p = wilcoxon(values, others[0], alternative="greater").pvalue if others else np.full(values.shape[1], np.nan)
        else:
            p = mannwhitneyu(values, np.concatenate(others)).pvalue if len(others) > 1 else np.full(values.shape[1], np.nan)
            p = statistics.holm(p)
        blocks = mine.filter(tokens=layer)["block"].unique().sort()
        parts.append(pl.DataFrame({"tokens": layer, "block": blocks, "p": pl.Series(p, nan_to_null=True)}))
    return pl.concat(parts)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per model, a line per layer, random twins dashed, stars where p < 0.05."""
    figure, panels = curves.model_panels(frame, width)
    for axes, (_, rows) in zip(panels, frame.group_by("model", maintain_order=True), strict=True):
        for height, layer in zip((0.97, 0.92), SUBLAYERS, strict=True):
            part = rows.filter(layer=layer)
            canvas.band(axes, part["block"] + 1, part, canvas.LOOKS[layer], label=canvas.NAMES[layer])
            canvas.twin_band(axes, part["block"] + 1, part, canvas.LOOKS[layer])
            starred = part.filter(pl.col("p") < statistics.SIGNIFICANT)["block"] + 1
            canvas.stars(axes, starred, height, canvas.LOOKS[layer], canvas.NAMES[layer])
    panels[0].set_ylabel("class-value agreement (cosine)")
    canvas.legend_below(figure, panels)
    return figure
