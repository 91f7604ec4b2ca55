"""F1: distribution over images of class identifiability in each block, one panel per model, tested against random twins.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from classlens import statistics
from classlens.analyses.identifiability import chance
from classlens.figures import canvas, curves
from classlens.presentation.series import Inputs, Series, beside_twins, labelled, models_only, twins
from classlens.protocol import Protocol

OFFSETS = {"cls": -0.2, "image": 0.2}
STARS = {"cls": 0.93, "image": 0.97}
KEYS = ["tokens", "block"]
MAX_BESIDE = 24
"""Maximum number of blocks with two panels per row; for deeper models, each panel has its own row."""
MOST_TICKS = 12
"""Maximum number of block labels; with more blocks, only every second or third block is labelled, and so on."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, tokens, block): quartiles, whiskers and mean over images, beside the random twins.

    Args:
        series: models and their twins.
        inputs: `ranks`, the counts of ranks, which the published test needs.
        protocol: selects the test.
        seed: seed of the published test's permutations.

    Returns:
        also chance, images, and p of the test against the twins, corrected over blocks by Holm's method. p is null for a model with fewer
        than two twins. In the protocol `paper`, p is not corrected, one twin is enough, and `permutations` is a further column.
    """
    ranks = {item.name: pl.DataFrame(counts) for item, counts in zip(series, inputs["ranks"], strict=True)}
    frames = []
    for item in models_only(series):
        others, mine = twins(item, series), _boxes(item)
        theirs = [_boxes(other) for other in others]
        tested = _paper_tests(item, ranks, others, protocol, seed) if protocol.tokens_as_units else _tests(mine, theirs)
        frame = beside_twins(mine, theirs, KEYS).join(tested, on=KEYS, how="left", maintain_order="left")
        frames.append(labelled(frame, item).with_columns(chance=pl.lit(chance(item.classes))))
    found = pl.concat(frames)
    return found.with_columns(permutations=pl.lit(protocol.permutations)) if protocol.tokens_as_units else found


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


def _tests(mine: pl.DataFrame, theirs: list[pl.DataFrame]) -> pl.DataFrame:
    """Test the model's means over images against the twins'; return rows (tokens, block) with p, corrected over blocks by Holm's method."""
    parts = []
    for (tokens,), rows in mine.group_by("tokens", maintain_order=True):
        means = [frame.filter(tokens=tokens).sort("block")["mean"].to_numpy() for frame in theirs]
        rows = rows.sort("block")
        _, p = statistics.against_twins(rows["mean"].to_numpy(), np.array(means).reshape(len(theirs), len(rows)))
        parts.append(rows.select("tokens", "block", pl.Series("p", statistics.holm(p), nan_to_null=True)))
    return pl.concat(parts)


def _paper_tests(item: Series, ranks: dict[str, pl.DataFrame], others: list[Series], protocol: Protocol, seed: int) -> pl.DataFrame:
    """Test the model's tokens against the first twin's, with tokens as units; return rows (tokens, block) with uncorrected p."""
    rows = []
    for tokens, block in item.frame.select("tokens", "block").unique().sort("tokens", "block").iter_rows():
        tables = [ranks[one.name].filter(tokens=tokens, block=block) for one in (item, *others[:1])]
        counts = [_counts(table, item.classes) for table in tables]
        p = statistics.token_permutation_p(counts[0], counts[1], protocol.permutations, seed) if others else None
        rows.append({"tokens": tokens, "block": block, "p": p})
    return pl.DataFrame(rows, schema_overrides={"block": pl.Int16, "p": pl.Float64})


def _counts(table: pl.DataFrame, classes: int) -> np.ndarray:
    counts = np.zeros(classes, np.int64)
    counts[table["rank"].to_numpy()] = table["count"].to_numpy()
    return counts


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a box per block and group of tokens, the random twins dashed, their range hatched, and stars where p < 0.05."""
    models = frame["model"].unique(maintain_order=True)
    deepest = int(frame["block"].to_numpy().max()) + 1
    figure, panels = canvas.grid_of_panels(len(models), width, 2.6, 1 if deepest > MAX_BESIDE else 2, share_x=curves.same_depth(frame))
    for axes, model in zip(panels, models, strict=True):
        rows = frame.filter(model=model)
        for tokens, group in ((name, rows.filter(tokens=name)) for name in OFFSETS):
            if len(group):
                _draw_boxes(axes, group, tokens)
        canvas.reference_line(axes, rows["chance"][0], "chance")
        canvas.block_axis(axes)
        axes.xaxis.set_major_locator(MultipleLocator(-(-deepest // MOST_TICKS)))
        axes.set_ylim(-0.05, 1.18)
        axes.set_title(f"{rows['label'][0]} ({canvas.count(rows['images'], 'images')})")
    figure.supylabel("class identifiability", fontsize=8)
    canvas.legend_below(figure, panels)
    return figure


def _draw_boxes(axes: Axes, group: pl.DataFrame, tokens: str) -> None:
    look = canvas.LOOKS[tokens]
    colour, fill = look.colour, look.marker["markerfacecolor"]
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
        boxprops={"facecolor": to_rgba(fill, 0.35), "edgecolor": colour, "linewidth": 0.8},
        medianprops={"color": colour, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )
    axes.fill_between([], [], facecolor=to_rgba(fill, 0.35), edgecolor=colour, linewidth=0.8, label=canvas.NAMES[tokens])
    canvas.twin_band(axes, group["block"] + 1, group, look)
    starred = group.filter(pl.col("p") < statistics.SIGNIFICANT)["block"] + 1 + OFFSETS[tokens]
    canvas.stars(axes, starred, STARS[tokens], look, canvas.NAMES[tokens])
