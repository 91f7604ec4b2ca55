"""Protocol `paper` in float32 against outputs of the published implementation, through the whole workflow."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import GOLDEN, NAMED_IMAGE, Run
from scipy.stats import spearmanr

from classlens.analyses import agreement, memory_table, projection_table
from classlens.models.loading import load_model
from classlens.protocol import PAPER

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


def published_arrays(model: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{model}_expected.npz") as arrays:
        return dict(arrays)


def mismatches(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float((ours != theirs).mean())


@pytest.fixture(params=["cls", "gap"])
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def expected(model: str) -> dict[str, np.ndarray]:
    return published_arrays(model)


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


@pytest.fixture(scope="module")
def memory_flags(golden: Run) -> dict[str, dict[str, np.ndarray]]:
    """Key-value agreement and compositionality of every token, [block, image, token], by model and name."""
    return {model: flags_of(golden.folder / "results/golden", model) for model in TOKENS}


def flags_of(results: Path, model: str) -> dict[str, np.ndarray]:
    vit, card = load_model(results / "models" / model)
    layers, parts = agreement.layer_memories(vit), []
    classes = pl.read_parquet(results / f"predictions/{model}/golden/validation.parquet")["class_index"].to_numpy()
    for shard in sorted((results / f"memory_keys/{model}/golden/validation").glob("*.parquet")):
        _, active = memory_table.read(shard, card)
        start = 0
        for batch in projection_table.read([results / f"projections/{model}/golden/validation" / shard.name], card):
            rows = slice(start, start + len(batch.image_ids))
            parts.append(agreement.agreements(active[rows], batch, classes[batch.image_ids], layers, PAPER))
            start = rows.stop
    return {name: np.concatenate([part[name] for part in parts]).transpose(2, 0, 1) for name in parts[0]}


@pytest.mark.parametrize("layer", ["attn", "mlp"])
def test_memories_of_every_token(memory_flags: dict, model: str, layer: str, expected: dict[str, np.ndarray]) -> None:
    flags = memory_flags[model]
    assert mismatches(flags[f"{layer}_agreement"][:, expected["image_index"]], expected[f"kv_agreement_{layer}"]) <= 5e-4
    assert mismatches(flags[f"{layer}_composition"][:, expected["image_index"]], expected[f"composition_{layer}"]) <= 5e-4


@pytest.mark.parametrize("layer", ["attn", "mlp"])
def test_key_value_agreement(golden: Run, model: str, layer: str) -> None:
    ours = pl.read_csv(golden.folder / "results/golden/figures/key_value_agreement.csv").filter(model=model, layer=layer, tokens="all")
    np.testing.assert_allclose(ours["mean"] / 100, published(f"kv_agreement_{model}_{layer}")["agreement rate"] / 100, atol=1e-3)


@pytest.mark.parametrize("layer", ["attn", "mlp"])
def test_class_value_agreement(golden: Run, model: str, layer: str, expected: dict[str, np.ndarray]) -> None:
    ours = table(golden, f"memories/{model}/golden/class_value_agreement.parquet").filter(layer=layer).sort("block", "class_index")
    np.testing.assert_allclose(ours["agreement"].to_numpy().reshape(DEPTH, -1), expected[f"class_value_agreement_{layer}"], atol=1e-5)


@pytest.mark.parametrize("condition", ["self_only", "no_cls", "without_context", "without_class"])
def test_perturbations(golden: Run, condition: str) -> None:
    expected = published_arrays("cls")
    ranks = table(golden, "perturbations/cls/golden.parquet").cast({"condition": pl.String}).filter(condition=condition)
    ours = ranks.sort("image_id", "token")
    assert mismatches(ours["rank"].to_numpy(), expected[f"{condition}_rank"].ravel()) <= 5e-4
    if f"{condition}_length" in expected:
        lengths = ours.group_by("image_id", maintain_order=True).len()["len"].to_numpy()
        np.testing.assert_array_equal(lengths, expected[f"{condition}_length"])
    accuracy = table(golden, "perturbations/cls/golden_accuracy.parquet").cast({"condition": pl.String}).filter(condition=condition)
    np.testing.assert_array_equal(accuracy.sort("image_id")["correct"].to_numpy(), expected[f"{condition}_correct"] == 1)


def true_class(golden: Run, name: str) -> pl.DataFrame:
    predictions = table(golden, "predictions/cls/golden/validation.parquet")
    maps = table(golden, f"relevance/cls/{name}.parquet").cast({"method": pl.String})
    return maps.join(predictions.select("image_id", "class_index"), on=["image_id", "class_index"], how="semi")


def test_relevance(golden: Run) -> None:
    expected = published_arrays("cls")
    ours = true_class(golden, "golden_heads").sort("image_id", "block", "head")
    maps = np.stack(ours["relevance"].to_numpy()).reshape(IMAGES, DEPTH, 4, 49)[expected["image_index_logits"]]
    theirs = expected["relevance_gradient"][..., 1:]
    np.testing.assert_allclose(maps, theirs, atol=1e-4 * np.abs(theirs).max())


def test_classes_that_the_config_names_are_explained_and_shown(golden: Run) -> None:
    manifest = table(golden, "data/golden/validation/manifest.parquet")
    (image,) = manifest.filter(pl.col("path").str.ends_with(NAMED_IMAGE)).iter_rows(named=True)
    maps = table(golden, "relevance/cls/golden.parquet").cast({"method": pl.String}).filter(method="ours", image_id=image["image_id"])
    own, named = image["class_index"], [953, 0, 2]
    assert maps["class_index"].to_list()[:4] == [own, *named]
    shown = pl.read_csv(golden.folder / "results/golden/figures/relevance_maps_cls.csv")
    assert set(shown.select("image_id", "path").rows()) == {(image["image_id"], image["path"])}
    assert shown["class_index"].unique(maintain_order=True).to_list() == [own, *named[:2]]


def test_chefer(golden: Run) -> None:
    theirs = published_arrays("cls")["chefer"]
    ours = true_class(golden, "golden").filter(method="chefer").sort("image_id")
    np.testing.assert_allclose(np.stack(ours["relevance"].to_numpy()), theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("method", "name"), [("ours", "grads"), ("chefer", "grads_chefer")])
@pytest.mark.parametrize("order", ["negative", "positive"])
def test_deletion_curves(golden: Run, method: str, name: str, order: str) -> None:
    theirs = published_arrays("cls")[f"deletion_{name}_{order}"]  # accuracy with 1 to 48 kept tokens
    ours = table(golden, "deletion/cls/golden.parquet").filter(method=method, order=order).sort("removed", descending=True)
    assert ours["removed"].to_list() == list(range(48, 0, -1))
    np.testing.assert_allclose(ours["accuracy"], theirs, atol=0.02)
    assert (np.abs(ours["accuracy"].to_numpy() - theirs) < 1e-6).mean() > 0.8


PROBES = [key for key in published_arrays("cls") if key.startswith("probe_rank")]


@pytest.mark.parametrize("key", PROBES)
def test_probes(golden: Run, key: str) -> None:
    theirs = published_arrays("cls")[key]
    name, token = key.removeprefix("probe_rank_").split("_t")
    site, block = name.split("-")
    sites = {"hs": "resid_post", "attn": "attn_out", "mlp": "mlp_out"}
    rows = table(golden, "probes/cls/golden.parquet").cast({"site": pl.String})
    ours = rows.filter(site=sites[site], block=int(block), token=int(token)).sort("image_id")["rank"].to_numpy()
    assert abs((ours == 0).mean() - (theirs == 0).mean()) <= 0.035
    assert spearmanr(ours, theirs).statistic >= 0.95
