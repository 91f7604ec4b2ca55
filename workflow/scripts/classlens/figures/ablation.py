"""F16: what the output loses if heads and MLPs are replaced by their means over images.

Source: Gandelsman, Efros & Steinhardt, ICLR 2024; McGrath et al., 2023.
"""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.presentation.effects import by_component, effects_of
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

PARTS = {"heads": "heads", "mlps": "MLPs", "all": "both"}
LOOKS = {"heads": "attn", "mlps": "mlp", "all": "previous", "head": "attn", "mlp": "mlp"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, panel, part, block, head), with 95 % intervals over images.

    In panel `cumulative`, mean is the accuracy in per cent without a part of the blocks from `block` on. In panel `effects`, direct and
    total are the losses of the true class's logit without a component, over the images that have both.
    """
    frames = []
    for item in series:
        frame = item.frame.cast({"kind": pl.String, "part": pl.String})
        frames += [labelled(_cumulative(frame, seed), item), labelled(_effects(frame, seed), item)]
    return pl.concat(frames, how="diagonal")


def _cumulative(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    keys = ["part", "block"]
    places, correct = by_component(frame.filter(kind="cumulative"), keys, "correct")
    found = statistics.mean_interval(correct, seed, "proportion").scaled(100)
    columns = {"mean": found.mean, "low": found.low, "high": found.high, "images": found.n}
    intact = 100 * float(frame.filter(kind="none")["correct"].to_numpy().mean())
    return places.select(pl.lit("cumulative").alias("panel"), *keys).with_columns(intact=pl.lit(intact), **columns)


def _effects(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    keys, effects = effects_of(frame)
    columns: dict[str, np.ndarray] = {}
    for kind in ("direct", "total"):
        found = statistics.mean_interval(effects[kind], seed, "mean")
        columns |= {kind: found.mean, f"{kind}_low": found.low, f"{kind}_high": found.high, "images": found.n}
    return keys.select(pl.lit("effects").alias("panel"), pl.all()).with_columns(**columns)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw accuracy without late blocks, a panel per model, and the total effect of each component over its direct one beside it."""
    models = frame["model"].unique(maintain_order=True)
    figure, groups, places = canvas.groups_of_panels(2, len(models), width, 2.2, lines=5)
    for of_panel, panel in zip(groups, (_accuracy, _scatter), strict=True):
        for axes, model in zip(of_panel, models, strict=True):
            rows = frame.filter(model=model, panel="cumulative" if panel is _accuracy else "effects")
            panel(axes, rows)
            axes.set_title(f"{rows['label'][0]} ({canvas.count(rows['images'], 'images')})")
    canvas.legends_in(places, groups)
    return figure


def _accuracy(axes: Axes, rows: pl.DataFrame) -> None:
    for part, name in PARTS.items():
        lines = rows.filter(part=part).sort("block")
        canvas.band(axes, lines["block"] + 1, lines, canvas.LOOKS[LOOKS[part]], label=f"without {name}")
    canvas.reference_line(axes, rows["intact"][0], "whole model")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(-3, 103)
    canvas.block_axis(axes, "first block that is ablated")


def _scatter(axes: Axes, rows: pl.DataFrame) -> None:
    for part, name in (("head", "head"), ("mlp", "MLP")):
        dots, look = rows.filter(part=part), canvas.LOOKS[LOOKS[part]]
        middle = (dots["direct"], dots["total"])
        reach = [np.abs(np.stack([dots[f"{kind}_low"], dots[f"{kind}_high"]]) - dots[kind].to_numpy()) for kind in ("direct", "total")]
        bars = axes.errorbar(*middle, xerr=reach[0], yerr=reach[1], fmt="none", elinewidth=0.6, ecolor=look.colour, alpha=0.8)
        for lines in bars.lines[2]:
            lines.set_gid(canvas.INTERVAL)
        axes.plot(*middle, linestyle="", color=look.colour, label=name, markersize=4, **look.marker)
    ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
    axes.plot(ends, ends, ":", color=canvas.GREY, linewidth=1, label="total = direct", zorder=1)
    axes.set_xlabel("direct loss of logit")
    axes.set_ylabel("total loss of logit")
