"""F4: class identifiability of class tokens (on the object) and of context tokens (beside it), for one model.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from classlens import statistics
from classlens.analyses.identifiability import chance
from classlens.figures import canvas
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (quantity, block) with mean and 95 % interval over images; quantity is `class`, `context` or their `difference`.

    All rows use the images that have both kinds of tokens. In the protocol `paper`, the means of each kind use all images that have it.
    """
    (item,) = series
    both = item.frame if protocol.tokens_weigh_alike else with_both(item.frame)
    means = statistics.by_block(both, "identifiability", seed, "share", tokens_weigh_alike=protocol.tokens_weigh_alike)
    gap = statistics.difference_by_block(item.frame, "identifiability", ("class", "context"), seed, protocol)
    gap = gap.select(pl.lit("difference").alias("tokens"), "block", pl.col("difference").alias("mean"), "low", "high", "images")
    frame = pl.concat([means.cast({"images": pl.Int64}), gap.cast({"images": pl.Int64})]).rename({"tokens": "quantity"})
    return labelled(frame, item).with_columns(chance=pl.lit(chance(item.classes)))


def with_both(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of images that have class and context tokens."""
    return frame.filter((pl.col("n") > 0).all().over("image_id"))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw both groups of tokens on the left, and their difference on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, 2.5))
    for tokens in ("class", "context"):
        rows = frame.filter(quantity=tokens)
        canvas.band(left, rows["block"] + 1, rows, canvas.LOOKS[tokens], label=canvas.NAMES[tokens])
    canvas.reference_line(left, frame["chance"][0])
    left.set_ylabel("class identifiability")
    left.set_title(f"{frame['label'][0]} ({canvas.count(frame.filter(pl.col('quantity') != 'difference')['images'], 'images')})")
    rows = frame.filter(quantity="difference")
    canvas.band(right, rows["block"] + 1, rows, canvas.LOOKS["previous"], label="difference")
    canvas.reference_line(right, 0, "chance (left), no difference (right)")
    right.set_ylabel("class \N{MINUS SIGN} context tokens")
    right.set_title(f"difference ({canvas.count(rows['images'], 'images')})")
    for axes in (left, right):
        canvas.block_axis(axes)
    canvas.legend_below(figure, [left, right])
    return figure
