"""What figures show, from small tables."""

import json
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from figure_checks import misplaced
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from scipy.stats import mannwhitneyu

from classlens import statistics
from classlens.figures import (
    agreement_difference,
    canvas,
    change_rate,
    class_value_agreement,
    class_vs_context,
    compositionality,
    deletion_curves,
    identifiability_evolution,
    key_value_agreement,
    mean_evolution,
    memory_comparison,
    patches,
    probes_vs_projection,
    relevance_heads,
    relevance_maps,
)
from classlens.presentation.series import Series
from classlens.protocol import CORRECTED, PAPER, Protocol


@pytest.fixture
def maps() -> pl.DataFrame:
    """Maps of two classes of an image whose file has a long name, of two rows of two patches, as one block and head have them."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    photograph = relevance_maps.photograph({"pixels": pixels.tobytes(), "height": 8, "width": 8})
    patches = {"row": [0, 0, 1, 1], "column": [0, 1, 0, 1], "relevance": [1.0, -1.0, 0.5, 0.0], "on_object": [True, False, True, False]}
    image = {"label": "a model", "image_id": 7, "path": "validation/n01484850/ILSVRC2012_val_00000293.JPEG", "block": 0, "head": 0}
    classes = ((2, "great white shark, white shark", True), (3, "hammerhead, hammerhead shark", False))
    return pl.concat(
        pl.DataFrame({**image, "class_index": index, "class_name": name, "own_class": own, **patches}).with_columns(
            pl.Series("photograph", [photograph if own else None, None, None, None], pl.String)
        )
        for index, name, own in classes
    )


@pytest.mark.parametrize("width", canvas.WIDTHS.values())
def test_relevance_maps_name_images_by_class(maps: pl.DataFrame, width: float) -> None:
    with canvas.styled():
        figure = relevance_maps.draw(maps, width)
        canvas.settle(figure)
    titles = [axes.title if axes.get_title() else axes._left_title for axes in figure.axes[:3]]
    assert [title.get_text().replace("\n", " ") for title in titles] == ["great white shark", "for great white shark", "for hammerhead"]
    for one, other in combinations([title.get_window_extent() for title in titles], 2):
        assert not one.overlaps(other)
    plt.close(figure)


def test_relevance_of_heads_names_the_image(maps: pl.DataFrame) -> None:
    figure = relevance_heads.draw(maps.filter(pl.col("own_class")).with_columns(share=100.0), canvas.WIDTHS["double"])
    assert figure.get_suptitle() == "a model: great white shark (n = 1 image)"
    plt.close(figure)


def test_maps_of_one_image_share_their_scale_and_have_the_outline_of_the_object(maps: pl.DataFrame) -> None:
    strong = maps.with_columns(pl.when(pl.col("own_class")).then(pl.col("relevance")).otherwise(4 * pl.col("relevance")).alias("relevance"))
    figure = relevance_maps.draw(strong, canvas.WIDTHS["double"])
    opacity = [axes.images[1].get_array()[..., 3].max() for axes in figure.axes[1:3]]
    assert opacity == pytest.approx([patches.MAX_OPACITY / 4, patches.MAX_OPACITY])
    assert [len(axes.collections) > 0 for axes in figure.axes[:3]] == [False, True, True]
    unknown = relevance_maps.draw(strong.with_columns(on_object=pl.lit(None, pl.Boolean)), canvas.WIDTHS["double"])
    assert not any(axes.collections for axes in unknown.axes[:3])
    plt.close("all")


def explained(table: dict[str, Any]) -> tuple[list[Series], dict[str, list[pa.Table]]]:
    """Return what figures of relevance read: maps of one image of two patches."""
    facts = {"classes": "2", "prefix_tokens": "1", "cls_token": "true", "grid": "[1, 2]"}
    shown = {"image_id": [5], "class_index": [1], "height": [2], "width": [2], "pixels": [bytes(12)]}
    metadata = {"classes": json.dumps([["n01", "cat"], ["n02", "dog"]])}
    manifest = pa.table({"image_id": [5], "path": ["n02/x.png"]}).replace_schema_metadata(metadata)
    return [Series("m", "a model", None, pl.DataFrame(table), facts)], {"shown": [pa.table(shown)], "manifest": [manifest]}


def test_the_share_of_a_head_is_its_part_of_all_absolute_relevance() -> None:
    table = {"image_id": 5, "class_index": 1, "block": [0, 1], "head": 0, "relevance": [[1.0, -2.0], [0.5, 0.5]]}
    found = relevance_heads.data(*explained(table), CORRECTED, 0)
    assert found["share"].to_list() == [75, 75, 25, 25]


@pytest.mark.parametrize("masks", [True, False])
def test_maps_know_the_class_tokens_if_there_are_masks(masks: bool) -> None:
    series, inputs = explained({"method": "ours", "image_id": 5, "class_index": [1, 0], "relevance": [[1.0, -2.0], [0.5, 0.5]]})
    labels = pa.table({"image_id": [5, 5, 6], "token": [2, 1, 1], "label": ["class", "context", "class"]})
    found = relevance_maps.data(series, {**inputs, "context": [labels] if masks else []}, CORRECTED, 0)
    assert found["on_object"].to_list() == ([False, True] * 2 if masks else [None] * 4)


def test_the_legend_of_deletion_has_the_order_of_the_curves_at_the_right() -> None:
    ends = {"ours": 20, "chefer": 90, "random": 50}
    rows = [(method, order, share) for method in ends for order in ("negative", "positive") for share in (0, 50, 90, 100)]
    frame = pl.DataFrame(rows, schema=["method", "order", "share"], orient="row").with_columns(model=pl.lit("m"), label=pl.lit("a model"))
    last = pl.col("method").replace_strict(ends)
    turned = pl.when(order="negative").then(last).otherwise(100 - last)
    mean = pl.when(share=0).then(95).when(share=100).then(10).otherwise(turned).cast(pl.Float64)
    frame = frame.with_columns(mean=mean, low=mean, high=mean, images=pl.lit(9), chance=pl.lit(10.0))
    figure = drawn(deletion_curves, frame)
    texts = [[text.get_text() for text in legend.get_texts()[:3]] for legend in figure.findobj(Legend)]
    assert texts == [["Chefer et al.", "random", "class projection (ours)"], ["class projection (ours)", "random", "Chefer et al."]]


def test_titles_have_the_number_of_images_that_their_panel_uses() -> None:
    counts = {"class": 194, "context": 200, "difference": 190}
    rows = [(quantity, block, count) for quantity, count in counts.items() for block in range(3)]
    frame = pl.DataFrame(rows, schema=["quantity", "block", "images"], orient="row")
    frame = frame.with_columns(mean=0.5, low=0.4, high=0.6, chance=0.55, label=pl.lit("a model"))
    titles = [axes.get_title(loc="left") for axes in drawn(class_vs_context, frame).axes]
    assert titles == ["a model (n = 194 to 200 images)", "difference (n = 190 images)"]


@pytest.mark.parametrize(("protocol", "name"), [(CORRECTED, "[CLS]"), (PAPER, "first token")])
def test_the_first_token_of_a_pooled_model_is_not_called_cls(protocol: Protocol, name: str) -> None:
    series = with_twins(used, 1)
    found = compositionality.data(series, {"chance": chances(series)}, protocol, 0)
    assert [axes.get_title(loc="left") for axes in drawn(compositionality, found).axes][1] == f"a model: {name} (n = {IMAGES} images)"


def test_a_figure_is_laid_out_once_for_all_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts: list[Figure] = []
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: layouts.append(figure))
    series = with_twins(measured, 1)
    frame = change_rate.data(series, {}, CORRECTED, 0)
    for formats in (canvas.FORMATS[:1], canvas.FORMATS):
        canvas.save(frame, change_rate.draw, tmp_path / "x.csv", {form: tmp_path / f"x.{form}" for form in formats})
    first, second = dict.fromkeys(layouts)
    assert layouts.count(first) == layouts.count(second) > 0


@pytest.mark.parametrize("width", canvas.WIDTHS.values())
@pytest.mark.parametrize("largest", [0.5, 4.2, 4.94, 8.27, 8.7, 120])
def test_the_scale_of_heads_stays_inside_the_figure(largest: float, width: float) -> None:
    maps = np.linspace(-1, largest, 12 * 4 * 49)
    places = np.stack(np.unravel_index(np.arange(maps.size), (12, 4, 7, 7)), axis=1)
    frame = pl.DataFrame(places, schema=["block", "head", "row", "column"]).with_columns(
        relevance=maps,
        share=100 / (12 * 4),
        label=pl.lit("ViT, pooled"),
        path=pl.lit("validation/checked_cross/validation_checked_cross_0000.jpg"),
        class_name=pl.lit("checked cross"),
        photograph=pl.lit(relevance_maps.photograph({"pixels": bytes(192), "height": 8, "width": 8})),
    )
    with canvas.styled():
        figure = relevance_heads.draw(frame, width)
        canvas.settle(figure)
    assert misplaced(figure) == []
    plt.close(figure)


def test_deletion_is_drawn_over_the_share_of_tokens_like_the_curves_of_all_maps() -> None:
    probes = pl.DataFrame({"site": "resid_post", "block": [0, 0], "token": [0, 1], "image_id": 0, "rank": [0, 1]})
    facts = {"prefix_tokens": "0", "cls_token": "false", "grid": "[2, 4]", "classes": "4"}
    curves = pl.DataFrame(
        {"method": "probe", "order": "negative", "removed": [0, 2, 8], "accuracy": 1.0, "low": 1.0, "high": 1.0, "images": 1}
    )
    found = probes_vs_projection.data(
        [Series("m", "m", None, probes, facts)], {"identifiability": [], "tuned_lens": [], "deletion": [curves.to_arrow()]}, CORRECTED, 0
    )
    assert found.filter(panel="deletion")["x"].to_list() == [0, 25, 100]
    assert found.filter(panel="accuracy").select("x", "mean").rows() == [(0, 50)]


DEPTH, CLASSES, IMAGES = 4, 6, 12


def measured(shift: float, seed: int) -> pl.DataFrame:
    """Measures of one model, [CLS] and image tokens, shifted by so much."""
    rng = np.random.default_rng(seed)
    rows = [(tokens, image, block) for tokens in ("cls", "image") for image in range(IMAGES) for block in range(DEPTH)]
    values = shift + 0.05 * rng.random(len(rows))
    frame = pl.DataFrame(rows, schema={"tokens": pl.String, "image_id": pl.Int32, "block": pl.Int16}, orient="row")
    rate = pl.when(pl.col("block") > 0).then(pl.Series(values))
    return frame.with_columns(n=pl.lit(3), identifiability=pl.Series(values), first=pl.Series(values), change_rate=rate)


def with_twins(frame_of: Any, seeds: int) -> list[Series]:
    """A model far above so many random twins."""
    facts = {"classes": str(CLASSES), "prefix_tokens": "1", "cls_token": "true", "grid": "[1, 3]"}
    names = tuple(f"m_random_{number}" for number in range(seeds))
    others = [Series(name, name, "m", frame_of(0.4 + 0.01 * number, number), facts) for number, name in enumerate(names)]
    return [Series("m", "a model", None, frame_of(0.8, 99), facts, names), *others]


def ranks(series: list[Series]) -> dict[str, list[pa.Table]]:
    """Counts of ranks: the model's are better."""
    counts = [
        {"tokens": tokens, "block": block, "rank": [1 if item.twin_of is None else 3], "count": [40]}
        for item in series
        for tokens in ("cls", "image")
        for block in range(DEPTH)
    ]
    each = 2 * DEPTH
    frames = [pl.concat([pl.DataFrame(row) for row in counts[start : start + each]]) for start in range(0, len(counts), each)]
    return {"ranks": [frame.cast({"block": pl.Int16}).to_arrow() for frame in frames]}


@pytest.mark.parametrize(
    ("protocol", "seeds", "starred"), [(CORRECTED, 5, True), (CORRECTED, 1, None), (CORRECTED, 0, None), (PAPER, 1, True)]
)
def test_identifiability_is_tested_against_all_twins(protocol: Protocol, seeds: int, starred: bool | None) -> None:
    series = with_twins(measured, seeds)
    found = identifiability_evolution.data(series, ranks(series), protocol, 0)
    assert found["model"].unique().to_list() == ["m"]
    assert found["seeds"].unique().to_list() == [seeds]
    assert found["chance"].unique().to_list() == pytest.approx([1 - 5 / 12])
    p = found["p"]
    assert (p < 0.05).all() if starred else p.null_count() == len(p)
    if seeds:
        means = [item.frame.filter(tokens="image", block=2)["identifiability"].mean() for item in series[1:]]
        row = found.filter(tokens="image", block=2).row(0, named=True)
        assert [row[name] for name in ("twins_mean", "twins_low", "twins_high")] == pytest.approx([np.mean(means), min(means), max(means)])
    figure = drawn(identifiability_evolution, found)
    assert figure.axes[0].get_title(loc="left") == "a model (n = 12 images)"


def drawn(module: Any, frame: pl.DataFrame, width: float = canvas.WIDTHS["double"]) -> Figure:
    with canvas.styled():
        figure = module.draw(frame, width)
        canvas.settle(figure)
    plt.close(figure)
    return figure


@pytest.mark.parametrize("depth", [12, 24, 40])
def test_blocks_of_deep_models_are_told_apart(depth: int) -> None:
    def deep(shift: float, seed: int) -> pl.DataFrame:
        one = measured(shift, seed).filter(block=0)
        return pl.concat([one.with_columns(block=pl.lit(block, pl.Int16)) for block in range(depth)])

    series = with_twins(deep, 2)
    frame = identifiability_evolution.data(series, {"ranks": [pa.table({}) for _ in series]}, CORRECTED, 0)
    axes = drawn(identifiability_evolution, frame).axes[0]
    labels = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))
    boxes = sorted((patch.get_extents().x0, patch.get_extents().x1) for patch in axes.patches)
    assert all(end <= start for (_, end), (start, _) in pairwise(boxes))


@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_means_and_change_rates_stand_beside_their_twins(seeds: int) -> None:
    series = with_twins(measured, seeds)
    for module, measure, scale in ((mean_evolution, "identifiability", 1), (change_rate, "change_rate", 100)):
        found = module.data(series, {}, CORRECTED, 0)
        assert found["model"].unique().to_list() == ["m"]
        row = found.filter(tokens="image", block=2).row(0, named=True)
        means = [scale * item.frame.filter(tokens="image", block=2)[measure].mean() for item in series[1:]]
        wanted = [np.mean(means), min(means), max(means)] if seeds else [None] * 3
        assert [row[name] for name in ("twins_mean", "twins_low", "twins_high")] == pytest.approx(wanted)
        assert row["seeds"] == seeds
        texts = [text.get_text() for legend in drawn(module, found).legends for text in legend.get_texts()]
        assert (canvas.RANDOM_TWINS in texts) == bool(seeds)


def agreements(shift: float, seed: int) -> pl.DataFrame:
    """Class-value agreement of one model."""
    rng = np.random.default_rng(seed)
    rows = [(layer, block, index) for layer in ("attn", "mlp") for block in range(DEPTH) for index in range(CLASSES)]
    frame = pl.DataFrame(rows, schema={"layer": pl.String, "block": pl.Int16, "class_index": pl.Int32}, orient="row")
    return frame.with_columns(agreement=pl.Series(shift + 0.1 * rng.random(len(rows)), dtype=pl.Float32))


@pytest.mark.parametrize(
    ("protocol", "seeds", "tested"), [(CORRECTED, 3, True), (CORRECTED, 1, False), (CORRECTED, 0, False), (PAPER, 1, True)]
)
def test_classes_are_tested_unpaired_against_those_of_all_twins(protocol: Protocol, seeds: int, tested: bool) -> None:
    series = with_twins(agreements, seeds)
    found = class_value_agreement.data(series, {}, protocol, 0)
    assert found["classes"].unique().to_list() == [CLASSES]
    if not tested:
        assert found["p"].null_count() == len(found)
    elif protocol is PAPER:
        assert found["p"].unique().to_list() == pytest.approx([1 / 2**CLASSES])  # all of six classes are larger
    else:
        pick = [item.frame.filter(layer="mlp")["agreement"].to_numpy().reshape(DEPTH, CLASSES) for item in series]
        p = [mannwhitneyu(pick[0][block], np.concatenate([one[block] for one in pick[1:]])).pvalue for block in range(DEPTH)]
        assert found.filter(layer="mlp")["p"].to_list() == pytest.approx(statistics.holm(np.array(p)).tolist())
    assert drawn(class_value_agreement, found).axes[0].get_title(loc="left") == f"a model (n = {CLASSES} classes)"


def test_cosines_have_the_interval_of_a_mean_and_not_that_of_a_share() -> None:
    series = with_twins(agreements, 2)
    values = series[0].frame.filter(layer="mlp")["agreement"].to_numpy().reshape(DEPTH, CLASSES)
    interval = statistics.mean_interval(values.T, 0, "mean")
    ends = np.concatenate([interval.low, interval.high])
    alone = class_value_agreement.data(series, {}, CORRECTED, 0)
    tables = {"class_value": [item.frame.to_arrow() for item in series], "chance": chances(series)}
    uses = with_twins(used, 2)
    compared = memory_comparison.data(uses, tables, CORRECTED, 0).filter(measure="class_value")
    for found in (alone, compared):
        rows = found.filter(layer="mlp").sort("block")
        assert [*rows["low"], *rows["high"]] == pytest.approx(ends)
    assert (ends[:DEPTH] > values.min(axis=1)).all()  # Wilson's interval of six classes is wider than all values


def used(shift: float, seed: int) -> pl.DataFrame:
    """Shares of tokens of one model, of images of three classes."""
    rng = np.random.default_rng(seed)
    rows = [(tokens, image, block) for tokens in ("all", "cls") for image in range(IMAGES) for block in range(DEPTH)]
    frame = pl.DataFrame(rows, schema={"tokens": pl.String, "image_id": pl.Int32, "block": pl.Int16}, orient="row")
    values = [pl.Series(name, shift + 0.1 * rng.random(len(rows))) for name in ("attn", "mlp")]
    return frame.with_columns(*values, n=pl.lit(4), class_index=pl.col("image_id") % 3)


def chances(series: list[Series]) -> list[pa.Table]:
    rows = [(tokens, layer, block) for tokens in ("all", "cls") for layer in ("attn", "mlp") for block in range(DEPTH)]
    frame = pl.DataFrame(rows, schema={"tokens": pl.String, "layer": pl.String, "block": pl.Int16}, orient="row")
    return [frame.with_columns(key_value=pl.lit(0.25), composition=pl.lit(0.5)).to_arrow() for _ in series]


@pytest.mark.parametrize(("module", "chance"), [(key_value_agreement, 25), (compositionality, 50)])
def test_shares_of_tokens_stand_beside_chance_and_twins(module: Any, chance: float) -> None:
    series = with_twins(used, 2)
    found = module.data(series, {"chance": chances(series)}, CORRECTED, 0)
    assert found["chance"].unique().to_list() == [chance]
    row = found.filter(layer="mlp", tokens="cls", block=1).row(0, named=True)
    means = [100 * item.frame.filter(tokens="cls", block=1)["mlp"].mean() for item in series]
    assert row["mean"] == pytest.approx(means[0])
    assert [row["twins_low"], row["twins_high"], row["seeds"], row["images"]] == pytest.approx([*sorted(means[1:]), 2, IMAGES])
    assert len(drawn(module, found).axes) == 2  # all tokens, and [CLS]


def test_memories_of_all_models_have_classes_as_units() -> None:
    series = with_twins(used, 2)
    values = [agreements(0.3, number).to_arrow() for number in range(len(series))]
    found = memory_comparison.data(series, {"class_value": values, "chance": chances(series)}, CORRECTED, 0)
    assert found.filter(measure="class_value")["classes"].unique().to_list() == [CLASSES]
    share = found.filter(measure="key_value", layer="mlp", block=2).row(0, named=True)
    assert (share["classes"], share["chance"]) == (3, 25)
    assert share["mean"] == pytest.approx(100 * series[0].frame.filter(tokens="all", block=2)["mlp"].mean())
    of_classes = series[0].frame.filter(tokens="all", block=2).group_by("class_index").agg(pl.col("mlp").mean()).sort("class_index")["mlp"]
    interval = statistics.mean_interval(of_classes.to_numpy()[:, None], 0)  # of shares from 0 to 1, not of percentages
    assert [share["low"], share["high"]] == pytest.approx([100 * interval.low[0], 100 * interval.high[0]])
    assert 0 < share["low"] < share["mean"] < share["high"] < 100
    assert found.filter(measure="class_value")["chance"].null_count() == 2 * DEPTH
    drawn(memory_comparison, found)


def test_classes_weigh_alike_for_models_and_for_twins() -> None:
    series = with_twins(used, 2)
    uneven = [replace(item, frame=item.frame.with_columns(n=pl.when(pl.col("class_index") == 0).then(40).otherwise(4))) for item in series]
    values = [agreements(0.3, number).to_arrow() for number in range(len(series))]
    found = memory_comparison.data(uneven, {"class_value": values, "chance": chances(series)}, CORRECTED, 0)
    row = found.filter(measure="key_value", layer="mlp", block=2).row(0, named=True)
    frames = [item.frame.filter(tokens="all", block=2).group_by("class_index").agg(pl.col("mlp").mean())["mlp"] for item in series]
    means = [100 * frame.mean() for frame in frames]
    assert [row["mean"], row["twins_low"], row["twins_high"]] == pytest.approx([means[0], *sorted(means[1:])])


@pytest.mark.parametrize(
    ("wrong", "said"), [(0, "all images are right: nothing to compare"), (7, "all images are wrong: nothing to compare")]
)
def test_right_images_are_not_compared_with_none(wrong: int, said: str) -> None:
    rows = [{"layer": layer, "block": block} for layer in ("attn", "mlp") for block in range(3)]
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("difference", "low", "high", "p")]
    counts = {"model": "m", "label": "a model", "tokens": "cls", "images_right": 7 - wrong, "images_wrong": wrong}
    figure = agreement_difference.draw(pl.DataFrame(rows).with_columns(*nothing, **{k: pl.lit(v) for k, v in counts.items()}), 6.0)
    assert said in [text.get_text() for text in figure.axes[0].texts]
    assert figure.axes[0].get_xlim() == (0.5, 3.5)
    assert list(figure.axes[0].get_yticks()) == []
