"""F1: distribution over images of class identifiability in each block, one panel per model, tested against random weights.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, sections 2 and 11.
"""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.measures import chance
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series, labelled, twin

OFFSETS = {"cls": -0.2, "image": 0.2}
STARS = {"cls": 0.93, "image": 0.97}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, tokens, block): quartiles, whiskers and mean over images, the twin's mean, and p of exceeding the twin.

    Args:
        series: models and their twins.
        inputs: `ranks`, counts of ranks, which the published test needs.
        protocol: settles the test.
        seed: seed of the permutations.

    Returns:
        also `images` and `permutations`; `p` is null for a model without a twin.
    """
    ranks = {item.name: pl.DataFrame(counts) for item, counts in zip(series, inputs["ranks"], strict=True)}
    frames = []
    for item in (item for item in series if item.twin_of is None):
        frame = _boxes(item)
        other = twin(item, series)
        if other is not None:
            tests = _paper_tests(item, ranks, other, protocol, seed) if protocol.tokens_as_units else _tests(item, other, protocol, seed)
            random = _boxes(other).select("tokens", "block", pl.col("mean").alias("random_mean"))
            frame = frame.join(random, on=["tokens", "block"], how="left").join(tests, on=["tokens", "block"], how="left")
        else:
            frame = frame.with_columns(random_mean=pl.lit(None, pl.Float64), p=pl.lit(None, pl.Float64))
        frames.append(labelled(frame, item).with_columns(chance=pl.lit(chance(item.classes))))
    return pl.concat(frames).with_columns(permutations=pl.lit(protocol.permutations))


def _boxes(item: Series) -> pl.DataFrame:
    value = pl.col("identifiability")
    quartiles = item.frame.group_by("tokens", "block").agg(
        value.quantile(0.25, "linear").alias("q1"),
        value.median().alias("median"),
        value.quantile(0.75, "linear").alias("q3"),
        value.mean().alias("mean"),
        pl.len().alias("images"),
        value.alias("values"),
    )
    reach = 1.5 * (pl.col("q3") - pl.col("q1"))
    inside = quartiles.with_columns(lowest=pl.col("q1") - reach, highest=pl.col("q3") + reach).explode("values")
    whiskers = inside.group_by("tokens", "block").agg(
        pl.col("values").filter(pl.col("values") >= pl.col("lowest")).min().alias("whisker_low"),
        pl.col("values").filter(pl.col("values") <= pl.col("highest")).max().alias("whisker_high"),
    )
    return quartiles.drop("values").join(whiskers, on=["tokens", "block"]).sort("tokens", "block")


def _tests(item: Series, other: Series, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Images as units, paired between model and twin; Holm over blocks."""
    parts = []
    for tokens in item.frame["tokens"].unique().sort():
        mine, theirs = (part.frame.filter(tokens=tokens) for part in (item, other))
        both = mine.join(theirs, on=["image_id", "block"], how="semi")
        rest = theirs.join(mine, on=["image_id", "block"], how="semi")
        differences = statistics.matrix(both, "identifiability") - statistics.matrix(rest, "identifiability")
        p = statistics.holm(statistics.paired_permutation_p(differences, protocol.permutations, seed))
        parts.append(pl.DataFrame({"tokens": tokens, "block": both["block"].unique().sort(), "p": p}))
    return pl.concat(parts)


def _paper_tests(item: Series, ranks: dict[str, pl.DataFrame], other: Series, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Tokens as units, not corrected for the number of blocks."""
    mine, theirs = ranks[item.name], ranks[other.name]
    rows = []
    for tokens, block in item.frame.select("tokens", "block").unique().sort("tokens", "block").iter_rows():
        counts, rest = (_counts(table.filter(tokens=tokens, block=block), item.classes) for table in (mine, theirs))
        rows.append({"tokens": tokens, "block": block, "p": statistics.token_permutation_p(counts, rest, protocol.permutations, seed)})
    return pl.DataFrame(rows, schema_overrides={"block": pl.Int16})


def _counts(table: pl.DataFrame, classes: int) -> np.ndarray:
    counts = np.zeros(classes, np.int64)
    counts[table["rank"].to_numpy()] = table["count"].to_numpy()
    return counts


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """A box per block and group of tokens, the random twin's mean as a dashed line, stars where p < 0.05."""
    models = frame["model"].unique(maintain_order=True)
    figure, panels = canvas.grid_of_panels(len(models), width, 2.6, 2, curves.same_depth(frame))
    for axes, model in zip(panels, models, strict=True):
        rows = frame.filter(model=model)
        for tokens, group in ((name, rows.filter(tokens=name)) for name in OFFSETS):
            if len(group):
                _draw_boxes(axes, group, tokens)
        canvas.reference_line(axes, rows["chance"][0], "chance")
        canvas.block_axis(axes)
        axes.set_ylim(-0.05, 1.15)
        axes.set_title(f"{rows['label'][0]} (n = {rows['images'][0]} images)")
    figure.supylabel("class identifiability", fontsize=8)
    canvas.legend_below(figure, max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1])), columns=5)
    return figure


def _draw_boxes(axes: Axes, group: pl.DataFrame, tokens: str) -> None:
    colour = canvas.COLOURS[tokens]
    positions = group["block"] + 1 + OFFSETS[tokens]
    keys = {"q1": "q1", "median": "med", "q3": "q3", "whisker_low": "whislo", "whisker_high": "whishi"}
    boxes = [{theirs: row[ours] for ours, theirs in keys.items()} for row in group.iter_rows(named=True)]
    line = {"color": colour, "linewidth": 0.8}
    axes.bxp(
        boxes,
        positions=positions.to_list(),
        widths=0.34,
        manage_ticks=False,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour, "linewidth": 0.8},
        medianprops={"color": colour, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )
    axes.plot([], [], "s", color=colour, alpha=0.6, label=canvas.NAMES[tokens])
    if group["random_mean"].null_count() < len(group):
        axes.plot(
            group["block"] + 1, group["random_mean"], "--", color=colour, linewidth=1, label=f"{canvas.NAMES[tokens]}, random weights"
        )
    canvas.stars(axes, group.filter(pl.col("p") < statistics.SIGNIFICANT)["block"] + 1, STARS[tokens], colour)
