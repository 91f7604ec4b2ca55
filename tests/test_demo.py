"""The demo as it is delivered: what it writes, and what it shows."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import Run
from figure_checks import misplaced

import filmstrip
from classlens.config.catalogue import FIGURES, TABLES, Item
from classlens.figures import canvas
from classlens.storage.hidden_states import read_states
from classlens.vocabulary import METHODS

MODELS, SEEDS = ("cls", "pooled"), 5
TWINS = tuple(f"{model}_random{number}" for model in MODELS for number in ("", "_1", "_2", "_3", "_4"))
IMAGES, DEPTH, CLASSES = 200, 12, 10


@pytest.fixture(scope="module")
def results(demo: Run) -> Path:
    return demo.folder / "results" / "demo"


def test_a_second_run_has_nothing_to_do(demo: Run) -> None:
    assert "Nothing to be done" in demo.complete()


def test_the_end_names_every_figure_and_table(demo: Run) -> None:
    log = (demo.folder / "log.txt").read_text(encoding="utf-8")
    assert "The run demo is complete" in log
    for path in [*demo.folder.glob("results/demo/figures/*.svg"), *demo.folder.glob("results/demo/tables/*.csv")]:
        assert str(path.relative_to(demo.folder)) in log


def test_every_figure_and_table_is_there(results: Path) -> None:
    for figure in FIGURES:
        for name in figure.files(list(MODELS)):
            for suffix in ("csv", "svg", "png", "pdf"):
                assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 500, name
    for table in TABLES:
        assert len(pl.read_csv(results / "tables" / f"{table.name}.csv")) > 0


def test_the_filmstrip_shows_an_image_at_which_the_class_spreads(results: Path) -> None:
    first = filmstrip.spread(results).first
    assert first.shape == (DEPTH, 7, 7)
    table = pl.read_parquet(results / "identifiability" / "cls" / "shapes.parquet").filter(tokens="image").sort("image_id", "block")
    shares = table["first"].to_numpy().reshape(IMAGES, DEPTH)
    assert np.isclose(first.mean(axis=(1, 2)), shares, atol=1e-6).all(axis=1).any()
    assert first[0].sum() < first[-1].sum() == 49 * shares[:, -1].max().round(6)


def card_of(results: Path, model: str) -> tuple[dict[str, Any], int]:
    """A model's card, and its number of tokens."""
    card = json.loads((results / "models" / model / "model.json").read_text(encoding="utf-8"))
    return card, card["prefix_tokens"] + card["grid"][0] * card["grid"][1]


@pytest.mark.parametrize("model", MODELS)
def test_contract_of_hidden_states(results: Path, model: str) -> None:
    card, tokens = card_of(results, model)
    shard = results / "hidden_states" / model / "shapes" / "validation" / "00000.parquet"
    states = pq.ParquetFile(shard)
    columns = [f"{site}.{block}" for site in ("resid_post", "attn_out", "mlp_out") for block in range(DEPTH)]
    names = [name for column in columns for name in (column, f"{column}.exponent")]
    assert states.schema_arrow.names == ["image_id", "token", *names]
    assert states.metadata.num_rows == IMAGES * tokens
    assert states.metadata.row_group(0).column(5).compression == "UNCOMPRESSED"
    assert not states.metadata.row_group(0).column(5).is_stats_set
    metadata = {key.decode(): value.decode() for key, value in states.schema_arrow.metadata.items()}
    assert (metadata["dtype"], metadata["D"], metadata["format"]) == ("float16", str(card["width"]), "2")
    assert metadata["protocol"] == "corrected"
    assert metadata["model_sha256"] == card["sha256"]
    assert json.loads(metadata["parameters"])["dtype"] == "float16"
    assert json.loads(metadata["versions"])["torch"]
    assert read_states(shard, "attn_out.3").shape == (IMAGES * tokens, card["width"])


def test_twins_have_no_hidden_states(results: Path) -> None:
    assert sorted(path.name for path in (results / "hidden_states").iterdir()) == sorted(MODELS)


@pytest.mark.parametrize("model", [*MODELS, *TWINS])
def test_contract_of_the_tables(results: Path, model: str) -> None:
    card, tokens = card_of(results, model)
    sites = 4 if model in MODELS else 1
    projections = pl.read_parquet(results / "projections" / model / "shapes" / "validation" / "*.parquet")
    assert len(projections) == IMAGES * tokens * sites * DEPTH
    assert projections["rank"].is_between(0, CLASSES - 1).all()
    first = projections.with_columns(
        best=pl.col("top5").list.first() if isinstance(projections["top5"].dtype, pl.List) else pl.col("top5").arr.first()
    )
    manifest = pl.read_parquet(results / "data/shapes/validation/manifest.parquet")
    joined = first.join(manifest.select("image_id", "class_index"), on="image_id")
    assert ((joined["best"] == joined["class_index"]) == (joined["rank"] == 0)).all()

    predictions = pl.read_parquet(results / "predictions" / model / "shapes" / "validation.parquet")
    assert predictions["image_id"].to_list() == list(range(IMAGES))
    assert (predictions["correct"] == (predictions["predicted"] == predictions["class_index"])).all()
    if card["pooling"] == "token":
        last = projections.filter(site="resid_post", block=DEPTH - 1, token=0).sort("image_id")
        assert (predictions["logit"] - last["logit"]).abs().max() < 0.02


@pytest.mark.parametrize("model", MODELS)
def test_memory_keys(results: Path, model: str) -> None:
    keys = pl.read_parquet(results / "memory_keys" / model / "shapes" / "validation" / "*.parquet")
    assert set(keys["layer"].cast(pl.String).unique()) == {"attn", "mlp"}
    coefficients = keys["coefficient"].to_numpy()
    assert (coefficients[:, :-1] >= coefficients[:, 1:]).all()
    assert keys.filter(pl.col("layer").cast(pl.String) == "mlp")["memory"].to_numpy().max() < 4 * 64


def test_models_are_good(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "identifiability.csv")
    for model in MODELS:
        assert table.filter(model=model)["accuracy"][0] >= 90


def test_identifiability_rises_in_trained_models_and_stays_at_chance_in_twins(results: Path) -> None:
    evolution = pl.read_csv(results / "figures" / "mean_evolution.csv").filter(tokens="image")
    for model in MODELS:
        rows = evolution.filter(model=model).sort("block")
        assert rows["low"][-1] > rows["high"][0]
        assert rows["low"][-1] > rows["chance"][0]
    assert evolution["seeds"].unique().to_list() == [SEEDS]
    assert (evolution["twins_mean"] - evolution["chance"]).abs().max() < 0.05
    assert (evolution["twins_low"] < evolution["twins_high"]).all()
    boxes = pl.read_csv(results / "figures" / "identifiability_evolution.csv")
    assert boxes.filter(pl.col("block") == DEPTH - 1)["p"].max() < 0.05


def test_tokens_are_labelled_by_the_masks(results: Path) -> None:
    labels = pl.read_parquet(results / "tokens" / "cls" / "shapes.parquet")
    assert len(labels) == IMAGES * 49
    names = labels["label"].cast(pl.String)
    assert (labels.filter(names == "class")["class_fraction"] >= 0.5).all()
    assert (labels.filter(names == "context")["class_fraction"] < 0.5).all()
    assert 0.03 < (names == "class").mean() < 0.2


@pytest.mark.parametrize("model", MODELS)
def test_contract_of_the_analyses(results: Path, model: str) -> None:
    ranks = pl.read_parquet(results / "perturbations" / model / "shapes.parquet").cast({"condition": pl.String})
    conditions = ["none", "self_only", *(["no_cls"] if model == "cls" else []), "without_context", "without_class"]
    assert ranks["condition"].unique(maintain_order=True).to_list() == conditions
    accuracy = pl.read_parquet(results / "perturbations" / model / "shapes_accuracy.parquet").cast({"condition": pl.String})
    predictions = pl.read_parquet(results / "predictions" / model / "shapes" / "validation.parquet")
    assert accuracy.filter(condition="none").sort("image_id")["correct"].equals(predictions["correct"])

    maps = pl.read_parquet(results / "relevance" / model / "shapes.parquet").cast({"method": pl.String})
    assert set(maps["method"]) == set(METHODS) - {"attnlrp", "grad_cam", "integrated_gradients"}
    assert len(maps.filter(method="ours")) == 2 * IMAGES  # the image's class and its rival
    assert len(maps.filter(method="rollout")) == IMAGES
    heads = pl.read_parquet(results / "relevance" / model / "shapes_heads.parquet").sort("image_id", "class_index", "block", "head")
    total = np.array(heads["relevance"].to_list()).reshape(2 * IMAGES, DEPTH * 4, -1).sum(axis=1)
    ours = maps.filter(method="ours").sort("image_id", "class_index")
    assert abs(total - np.array(ours["relevance"].to_list())).max() < 1e-3

    scores = pl.read_parquet(results / "faithfulness" / model / "shapes_images.parquet").cast({"method": pl.String})
    assert len(scores) == IMAGES * maps["method"].n_unique()
    assert scores["saco"].fill_nan(None).abs().max() <= 1 + 1e-12
    curves = pl.read_parquet(results / "deletion" / model / "shapes.parquet").filter(removed=0)
    assert curves.select("accuracy", "probability").unique().height == 1  # all methods begin with the whole image
    assert curves["accuracy"][0] == pytest.approx(predictions["correct"].mean())

    probes = pl.read_parquet(results / "probes" / model / "shapes.parquet")
    tokens = 50 if model == "cls" else 49
    assert len(probes) == 3 * DEPTH * tokens * IMAGES
    rates = pl.read_parquet(results / "probes" / model / "shapes_accuracy.parquet")
    assert set(rates["training"]) == {"test split"}
    wanted = probes.group_by("site", "block", "token").agg(accuracy=(pl.col("rank") == 0).mean()).cast({"site": pl.String})
    joined = rates.join(wanted, on=["site", "block", "token"])
    assert (joined["accuracy"] - joined["accuracy_right"]).abs().max() < 1e-9

    lenses = pl.read_parquet(results / "tuned_lens" / model / "shapes.parquet").sort("tokens", "image_id", "block")
    identified = pl.read_parquet(results / "identifiability" / model / "shapes.parquet").sort("tokens", "image_id", "block")
    both = lenses.join(identified, on=["tokens", "image_id", "block"])
    assert len(both) == len(identified) and set(lenses["tokens"]) == set(identified["tokens"]) | {"class", "context"}
    assert (both["logit_first"] - both["first"]).abs().max() < 1e-6
    last = lenses.filter(block=DEPTH - 1)
    assert (last["logit_kl"] - last["tuned_kl"]).abs().max() == 0
    if model == "cls":
        of_cls = last.filter(tokens="cls")
        assert of_cls["logit_kl"].max() < 1e-5 and (of_cls["logit_agreement"] == 1).all()

    terms = pl.read_parquet(results / "attribution" / model / "shapes.parquet").sort("image_id")
    assert len(terms) == IMAGES * (1 + DEPTH * (4 + 1) + 1)
    total = terms.group_by("image_id", maintain_order=True).agg(pl.col("logit").sum())["logit"]
    assert total.mean() > 4  # of the true class, above the mean of all classes

    by_token = pl.read_parquet(results / "attribution" / model / "shapes_tokens.parquet")
    of_true = (
        by_token.group_by("image_id", "class_index", maintain_order=True).agg("logit").unique("image_id", keep="first", maintain_order=True)
    )
    assert (of_true["logit"].explode() - terms["logit"]).abs().max() < 1e-5
    heads = by_token.drop_nulls("tokens")
    assert (heads["tokens"].list.sum() - heads["logit"]).abs().max() < 1e-5

    effects = pl.read_parquet(results / "ablation" / model / "shapes.parquet").cast({"kind": pl.String})
    whole = effects.filter(kind="none").sort("image_id")
    assert whole["correct"].equals(predictions.sort("image_id")["correct"])
    assert (whole["logit"] - total).abs().max() < 1e-4
    assert len(effects.filter(kind="direct")) == IMAGES * DEPTH * 5 and len(effects.filter(kind="total")) == 50 * DEPTH * 5
    assert len(effects.filter(kind="cumulative")) == IMAGES * DEPTH * 3

    curves = pl.read_parquet(results / "deletion" / model / "shapes.parquet")
    assert set(curves["order"]) == {"negative", "positive"}
    start = curves.filter(removed=0)["accuracy"]
    assert (start - predictions["correct"].mean()).abs().max() < 1e-9
    values = pl.read_parquet(results / "memories" / model / "shapes" / "interpretable_values.parquet")
    assert len(values) == DEPTH * (64 + 256)
    assert values["class_name"].list.len().eq(5).all()


def test_tokens_are_removed_in_a_better_order_than_a_random_one(results: Path) -> None:
    ours = pl.read_csv(results / "tables" / "deletion_area.csv").filter(method="ours")  # differences from random orders, same images
    assert (ours.filter(order="positive")["difference_high"] < 0).all()
    assert ours.filter(order="negative")["difference"].mean() > 0  # of one model it may be chance: training differs by processor


@pytest.mark.parametrize("model", MODELS)
def test_our_maps_find_the_object(results: Path, model: str) -> None:
    scores = pl.read_csv(results / "tables" / "segmentation_scores.csv").filter(model=model)
    ours, random = (scores.filter(method=method) for method in ("ours", "random"))
    for measure in ("pixel_accuracy", "miou", "average_precision", "pointing_game", "positive_share"):
        assert ours[f"{measure}_low"][0] > random[f"{measure}_high"][0]


def test_image_tokens_need_each_other(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "attention_perturbation.csv")
    assert (table.filter(condition="self_only")["difference_high"] < 0).all()
    assert (table.filter(condition="self_only")["p"] < 0.05).all()
    tokens = pl.read_csv(results / "tables" / "token_perturbation.csv")
    assert (tokens.filter(condition="without_class")["difference_high"] < 0).all()


def test_values_agree_with_classes_more_than_random_ones(results: Path) -> None:
    rows = pl.read_csv(results / "figures" / "class_value_agreement.csv").filter(pl.col("layer") == "attn", pl.col("block") == DEPTH - 1)
    assert (rows["mean"] > rows["twins_high"]).all()
    assert (rows["p"] < 0.05).all()


def test_logs_are_plain_lines(results: Path) -> None:
    log = (results / "logs/extract/cls/shapes/validation/00000.log").read_text(encoding="utf-8")
    assert "hidden states: 200 images in" in log
    assert "\r" not in log
    assert "\x1b" not in log


@pytest.mark.parametrize("item", FIGURES, ids=lambda item: item.name)
def test_texts_of_figures_fit_a_single_column(results: Path, item: Item) -> None:
    frame = pl.read_csv(results / "figures" / f"{item.files(['cls'])[0]}.csv", infer_schema_length=None)
    with canvas.styled():
        figure = import_module(f"classlens.figures.{item.name}").draw(frame, canvas.WIDTHS["single"])
        canvas.settle(figure)
    assert misplaced(figure) == []


def test_figures_are_the_same_bytes_when_drawn_again(demo: Run, results: Path) -> None:
    paths = [results / "figures" / f"mean_evolution.{suffix}" for suffix in ("csv", "svg", "png", "pdf")]
    before = [path.read_bytes() for path in paths]
    demo.complete("--force", "results/demo/figures/mean_evolution.svg")
    assert [path.read_bytes() for path in paths] == before
