"""F9: whether tokens use memories of their class more often in correctly than in wrongly classified images.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3. The measure is taken at
[CLS], and over all tokens for models without [CLS].
"""

import polars as pl
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS

FEW_WRONG_IMAGES = 30
"""With fewer wrong images, the title says so in large letters, because their mean is uncertain."""

EXCLUDES_ZERO = (pl.col("low") > 0) | (pl.col("high") < 0)
"""Whether the interval excludes 0."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, layer, block): difference in per cent with 95 % interval, p, and the numbers of images.

    p is corrected over blocks by Holm's method unless the protocol is `paper`. The difference is null for a model that classifies all
    images correctly, or all wrongly.
    """
    frames = []
    for item in series:
        tokens = "cls" if "cls" in item.frame["tokens"] else "all"
        rows = item.frame.filter(tokens=tokens).sort("image_id", "block")
        right = rows.filter(block=0)["correct"].to_numpy()
        for layer in SUBLAYERS:
            found = statistics.split_difference(statistics.matrix(rows, layer), right, protocol, seed)
            p = found.pop("p")
            columns = {name: 100 * values for name, values in found.items()}
            columns["p"] = p if protocol.tokens_as_units else statistics.holm(p)
            names = {"layer": layer, "tokens": tokens, "block": rows["block"].unique().sort()}
            counts = {"images_right": int(right.sum()), "images_wrong": int((~right).sum())}
            frames.append(labelled(pl.DataFrame({**names, **columns, **counts}), item))
    return pl.concat(frames).with_columns(pl.col(pl.Float64).fill_nan(None)).with_columns(permutations=pl.lit(protocol.permutations))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per model, a line per layer, and stars where p < 0.05 and the interval excludes 0."""
    figure, panels = curves.model_panels(frame, width)
    for axes, (_, rows) in zip(panels, frame.group_by("model", maintain_order=True), strict=True):
        for height, layer in zip((0.97, 0.92), SUBLAYERS, strict=True):
            part = rows.filter(layer=layer).rename({"difference": "mean"})
            canvas.band(axes, part["block"] + 1, part, canvas.LOOKS[layer], label=canvas.NAMES[layer])
            starred = part.filter(pl.col("p") < statistics.SIGNIFICANT, EXCLUDES_ZERO)["block"] + 1
            canvas.stars(axes, starred, height, canvas.LOOKS[layer], canvas.NAMES[layer])
        canvas.reference_line(axes, 0, "no difference")
        wrong = rows["images_wrong"][0]
        if rows["difference"].is_null().all():
            said = f"all images are {'wrong' if wrong else 'right'}: nothing to compare"
            axes.text(0.5, 0.75, said, ha="center", transform=axes.transAxes)
            axes.set_xlim(0.5, rows["block"].n_unique() + 0.5)
        count = f"{wrong} wrong of n = {wrong + rows['images_right'][0]} images"
        if wrong < FEW_WRONG_IMAGES:
            axes.set_title(f"{rows['label'][0]}: only {count}", fontsize=10)
        else:
            axes.set_title(f"{rows['label'][0]}: {count}")
    if frame["difference"].is_null().all():
        panels[0].set_yticks([])  # the panels share them
    panels[0].set_ylabel("agreement, right \N{MINUS SIGN} wrong (%)")
    canvas.legend_below(figure, panels)
    return figure
