"""Protocol `paper` in float32 against outputs of the published implementation, through the whole workflow."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import GOLDEN, Run

SITES = ("resid_post", "resid_mid", "attn_out", "mlp_out")
PUBLISHED_SITES = [0, 2, 3]
IMAGES, DEPTH = 100, 12
TOKENS = {"cls": 50, "gap": 196}


def projections(run: Run, model: str, column: str) -> np.ndarray:
    """A column of the projections as [site, block, image, token, ...], in the published order of sites."""
    shards = sorted((run.folder / f"results/golden/projections/{model}/golden/validation").glob("*.parquet"))
    values = np.concatenate([np.stack(pq.read_table(shard)[column].to_pylist()) for shard in shards])
    values = values.reshape(IMAGES, TOKENS[model], len(SITES), DEPTH, *values.shape[1:])
    return np.moveaxis(values, (2, 3), (0, 1))[PUBLISHED_SITES]


def table(run: Run, path: str) -> pl.DataFrame:
    return pl.read_parquet(run.folder / "results/golden" / path)


def published(name: str) -> pl.DataFrame:
    return pl.read_csv(GOLDEN / "aggregates" / f"{name}.csv")


@pytest.fixture(params=["cls", "gap"])
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def expected(model: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{model}_expected.npz") as arrays:
        return {key: arrays[key] for key in ("image_index", "image_index_logits", "rank", "logit", "top5", "correct")}


def test_ranks(golden: Run, model: str, expected: dict[str, np.ndarray]) -> None:
    ours = projections(golden, model, "rank")[:, :, expected["image_index"]]
    assert (ours != expected["rank"]).mean() <= 5e-4


def test_logits(golden: Run, model: str, expected: dict[str, np.ndarray]) -> None:
    ours = projections(golden, model, "logit")[:, :, expected["image_index_logits"]]
    np.testing.assert_allclose(ours, expected["logit"], atol=1e-4)


def test_top5(golden: Run, model: str, expected: dict[str, np.ndarray]) -> None:
    ours = projections(golden, model, "top5")[:, :, expected["image_index_logits"]]
    assert (ours != expected["top5"]).mean() <= 5e-4


def test_predictions(golden: Run, model: str, expected: dict[str, np.ndarray]) -> None:
    ours = table(golden, f"predictions/{model}/golden/validation.parquet")
    np.testing.assert_array_equal(ours["correct"].to_numpy(), expected["correct"] == 1)
    assert ours["image_id"].to_list() == list(range(IMAGES))


def test_mean_evolution(golden: Run, model: str) -> None:
    ours = pl.read_csv(golden.folder / "results/golden/figures/mean_evolution.csv").filter(model=model)
    theirs = published(f"mean_evolution_{model}")
    for name, tokens in {"[CLS]": "cls", "image": "image"}.items():
        values = theirs.filter(pl.col("token type") == name)["class identifiability"].cast(pl.String)
        wanted = values.str.replace_all(r"tensor\(|\)", "").cast(pl.Float64)
        np.testing.assert_allclose(ours.filter(tokens=tokens)["mean"], wanted, atol=1e-3)


def test_change_rate(golden: Run, model: str) -> None:
    ours = pl.read_csv(golden.folder / "results/golden/figures/change_rate.csv").filter(model=model)
    np.testing.assert_allclose(ours["mean"] / 100, published(f"change_rate_{model}")["change rate"], atol=1e-3)


def test_class_and_context_means(golden: Run, model: str) -> None:
    ours = pl.read_csv(golden.folder / f"results/golden/figures/class_vs_context_{model}.csv")
    counts = table(golden, f"context/{model}/golden.parquet")
    for tokens in ("class", "context"):
        theirs = published(f"segmented_{model}").filter(pl.col("token location") == tokens).sort("block")
        np.testing.assert_allclose(ours.filter(quantity=tokens)["mean"], theirs["mean"], atol=1e-3)
        assert counts.filter(tokens=tokens, block=0)["n"].sum() == theirs["n"][0]


def test_residual_composition(golden: Run, model: str) -> None:
    ours = pl.read_csv(golden.folder / f"results/golden/figures/class_building_{model}.csv").filter(panel="composition")
    theirs = published(f"residual_match_{model}")
    for source, quantity in {"prev": "previous", "attn": "attn", "mlp": "mlp", "comp": "composition"}.items():
        wanted = theirs.filter(pl.col("Source") == source).sort("block")["match"]
        np.testing.assert_allclose(ours.filter(quantity=quantity)["mean"] / 100, wanted / 100, atol=1e-3)
