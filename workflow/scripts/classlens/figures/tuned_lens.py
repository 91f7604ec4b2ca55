"""F14: what the tuned lens reads from the output of each block, beside the logit lens.

Source: Belrose et al., arXiv:2303.08112, 2023.
"""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

MEASURES = {"first": "share", "kl": "mean"}
"""Measures of the panels, and the kinds of their means (`statistics.mean_interval`)."""
LENSES = {"logit": "logit lens", "tuned": "tuned lens"}
STYLES = {"cls": "--", "image": "-"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, panel, lens, tokens, block) with mean and 95 % interval over images, and chance (1 / classes).

    Panel `first` is the share of tokens whose class ranks first, in per cent; panel `kl` is the KL divergence from the model's output, in
    nats.
    """
    frames = []
    for item in series:
        kinds = item.frame.filter(pl.col("tokens").is_in(list(STYLES)))
        for panel, kind in MEASURES.items():
            for lens in LENSES:
                means = statistics.by_block(kinds, f"{lens}_{panel}", seed, kind)
                scaled = means.with_columns(pl.col("mean", "low", "high") * (100 if panel == "first" else 1))
                chance = pl.lit(100 / item.classes if panel == "first" else None, pl.Float64).alias("chance")
                frames.append(labelled(scaled.select(pl.lit(panel).alias("panel"), pl.lit(lens).alias("lens"), pl.all(), chance), item))
    return pl.concat(frames)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per model with the share of tokens whose class ranks first, and one with the divergence beside it."""
    models = frame["model"].unique(maintain_order=True)
    figure, groups, places = canvas.groups_of_panels(len(MEASURES), len(models), width, 2.1, lines=4)
    for of_panel, panel in zip(groups, MEASURES, strict=True):
        for axes, model in zip(of_panel, models, strict=True):
            _panel(axes, frame.filter(model=model, panel=panel), panel)
    canvas.legends_in(places, groups)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, panel: str) -> None:
    for (lens, tokens), part in rows.group_by("lens", "tokens", maintain_order=True):
        name = f"{LENSES[str(lens)]}, {canvas.NAMES[str(tokens)]}"
        canvas.band(axes, part["block"] + 1, part, canvas.LOOKS[str(lens)], label=name, style=STYLES[str(tokens)])
    axes.set_title(f"{rows['label'][0]} ({canvas.count(rows['images'], 'images')})")
    canvas.block_axis(axes)
    if panel == "kl":
        axes.set_ylabel("KL divergence (nats)")
        axes.set_ylim(bottom=0)
        return
    canvas.reference_line(axes, rows["chance"][0], "chance")
    axes.set_ylabel("class first (% of tokens)")
    axes.set_ylim(-3, 103)
