"""The demo as it is delivered: what it writes, and what it shows."""

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import Run

from classlens.plan import FIGURES, PER_MODEL, TABLES
from classlens.storage import read_states

MODELS, TWINS = ("cls", "pooled"), ("cls_random", "pooled_random")
IMAGES, DEPTH, CLASSES = 100, 12, 10


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
    for figure in FIGURES.values():
        for name in [f"{figure}_{model}" for model in MODELS] if figure in PER_MODEL else [figure]:
            for suffix in ("csv", "svg", "png", "pdf"):
                assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 500, name
    for table in TABLES.values():
        assert len(pl.read_csv(results / "tables" / f"{table}.csv")) > 0


@pytest.mark.parametrize("model", [*MODELS, *TWINS])
def test_contract_of_the_tables(results: Path, model: str) -> None:
    card = json.loads((results / "models" / model / "model.json").read_text(encoding="utf-8"))
    tokens = card["prefix_tokens"] + card["grid"][0] * card["grid"][1]
    shard = results / "hidden_states" / model / "shapes" / "validation" / "00000.parquet"
    states = pq.ParquetFile(shard)
    names = [f"{site}.{block}" for site in ("resid_post", "attn_out", "mlp_out") for block in range(DEPTH)]
    assert states.schema_arrow.names == ["image_id", "token", *names]
    assert states.metadata.num_rows == IMAGES * tokens
    assert states.metadata.row_group(0).column(5).compression == "UNCOMPRESSED"
    assert not states.metadata.row_group(0).column(5).is_stats_set
    metadata = {key.decode(): value.decode() for key, value in states.schema_arrow.metadata.items()}
    assert (metadata["dtype"], metadata["D"]) == ("float16", str(card["width"]))
    assert metadata["protocol"] == "corrected"
    assert metadata["model_sha256"] == card["sha256"]
    assert json.loads(metadata["parameters"])["dtype"] == "float16"
    assert json.loads(metadata["versions"])["torch"]
    assert read_states(shard, "attn_out.3").shape == (IMAGES * tokens, card["width"])

    projections = pl.read_parquet(results / "projections" / model / "shapes" / "validation" / "*.parquet")
    assert len(projections) == IMAGES * tokens * 4 * DEPTH
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
    for twin in TWINS:
        rows = evolution.filter(model=twin)
        assert (rows["mean"] - rows["chance"]).abs().max() < 0.1
    boxes = pl.read_csv(results / "figures" / "identifiability_evolution.csv")
    assert boxes.filter(pl.col("block") == DEPTH - 1)["p"].max() < 0.05


def test_tokens_are_labelled_by_the_masks(results: Path) -> None:
    labels = pl.read_parquet(results / "tokens" / "cls" / "shapes.parquet")
    assert len(labels) == IMAGES * 49
    names = labels["label"].cast(pl.String)
    assert (labels.filter(names == "class")["class_fraction"] >= 0.5).all()
    assert (labels.filter(names == "context")["class_fraction"] < 0.5).all()
    assert 0.03 < (names == "class").mean() < 0.4


def test_logs_are_plain_lines(results: Path) -> None:
    log = (results / "logs/extract/cls/shapes/validation/00000.log").read_text(encoding="utf-8")
    assert "hidden states: 100 images in" in log
    assert "\r" not in log
    assert "\x1b" not in log


def test_figures_are_the_same_bytes_when_drawn_again(demo: Run, results: Path) -> None:
    paths = [results / "figures" / f"mean_evolution.{suffix}" for suffix in ("csv", "svg", "png", "pdf")]
    before = [path.read_bytes() for path in paths]
    demo.complete("--force", "results/demo/figures/mean_evolution.svg")
    assert [path.read_bytes() for path in paths] == before
