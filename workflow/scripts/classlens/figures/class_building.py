"""F5: how often a sublayer's output has a larger true-class logit than its input, and where the stream's top class is from; one model.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.2.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens import statistics
from classlens.analyses.building import SOURCES
from classlens.figures import canvas
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS

PANELS = {"position": ("cls", "image"), "object": ("class", "context")}
TITLES = {"position": "change rate of sub-layers", "object": "by class and context tokens", "composition": "residual composition"}
STYLES = {"cls": "--", "image": "-", "class": "-", "context": "--"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (panel, quantity, tokens, block) with the share of tokens in per cent and its 95 % interval over images."""
    (item,), composition = series, pl.DataFrame(inputs["composition"][0])
    frames = []
    for layer in SUBLAYERS:
        means = statistics.by_block(item.frame, f"{layer}_change", seed, "share", tokens_weigh_alike=protocol.tokens_weigh_alike)
        for panel, groups in PANELS.items():
            frames.append(
                means.filter(pl.col("tokens").is_in(groups)).select(pl.lit(panel).alias("panel"), pl.lit(layer).alias("quantity"), pl.all())
            )
    for source in SOURCES:
        means = statistics.by_block(composition, source, seed, "share")
        frames.append(means.select(pl.lit("composition").alias("panel"), pl.lit(source).alias("quantity"), pl.all()))
    percent = pl.concat(frames).with_columns(pl.col("mean", "low", "high") * 100)
    return labelled(percent, item)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw change rates by position, change rates by mask if there are masks, and residual composition."""
    panels = [panel for panel in TITLES if panel in frame["panel"]]
    figure, groups, places = canvas.groups_of_panels(len(panels), 1, width, 2.4, lines=6, least=1.7)
    for (axes,), panel in zip(groups, panels, strict=True):
        for (quantity, tokens), rows in frame.filter(panel=panel).group_by("quantity", "tokens", maintain_order=True):
            name = canvas.NAMES[str(quantity)] + (f", {canvas.NAMES[str(tokens)]}" if tokens != "all" else "")
            canvas.band(axes, rows["block"] + 1, rows, canvas.LOOKS[str(quantity)], label=name, style=STYLES.get(str(tokens), "-"))
        if panel == "composition":
            axes.set_ylabel("same top class (% of tokens)")
        else:
            canvas.reference_line(axes, 50, "as often as not")
            axes.set_ylabel("larger class logit (% of tokens)")
        axes.set_ylim(-3, 103)
        canvas.block_axis(axes)
        axes.set_title(TITLES[panel])
    canvas.legends_in(places, groups)
    figure.suptitle(f"{frame['label'][0]} ({canvas.count(frame['images'], 'images')})", fontsize=8)
    return figure
