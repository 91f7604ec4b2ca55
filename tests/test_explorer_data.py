"""The explorer's files of the models of a run against the run's tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import Run, planned, small_config
from packed_reader import opened, read
from playwright.sync_api import Browser, Page

SHOWN = 6
EXPLORED = {"attribution_tokens", "explorer_model", "explorer"}


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    with opened(browser, tmp_path) as page:
        yield page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The explorer of two models, which shows six of ten images."""
    run = Run(tmp_path_factory.mktemp("run"))
    measures = [f"results/small/{analysis}/m/d.parquet" for analysis in ("tuned_lens", "attribution")]
    run.complete("explorer", *measures, "--configfile", run.configure(config_of(SHOWN)))
    return run


def config_of(images: int) -> dict[str, Any]:
    config = small_config(explorer={"images": images, "tuned_lens": True}, analyses=["identifiability", "memories", "relevance"])
    model = config["models"]["m"]
    trained = {**model, "weights": "trained", "training": {"epochs": 1}, "random_twin": {"seeds": 1}}
    trained["analyses"] = [*config["analyses"], "tuned_lens", "attribution"]
    return {**config, "models": {"m": trained, "n": {**model, "kwargs": {**model["kwargs"], "embed_dim": 32}}}}


def arguments_in(path: Path) -> list[Any]:
    """The arguments of the call in a data file."""
    content = path.read_bytes()
    text = content.decode("utf-8-sig" if content.startswith(b"\xef") else "utf-16")
    found: list[Any] = json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")
    return found


def table(run: Run, path: str) -> pl.DataFrame:
    frame = pl.concat([pl.read_parquet(file) for file in sorted((run.folder / "results/small").glob(path))])
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def test_the_residual_stream_through_the_tuned_lens(run: Run, reader: Page) -> None:
    folder = run.folder / "results/small/explorer/m"
    sites = arguments_in(folder / "model.js")[1]["sites"]
    assert sites == ["resid_post", "attn_out", "mlp_out", "tuned_lens"]
    measures = table(run, "tuned_lens/m/d.parquet").filter(tokens="image")
    for path in sorted((folder / "images").iterdir()):
        ranks = read(reader, arguments_in(path)[2])[0]["rank"]  # [site, block, token]
        known = measures.filter(image_id=int(path.stem)).sort("block")
        for site, column in (("resid_post", "logit_first"), ("tuned_lens", "tuned_first")):
            np.testing.assert_allclose((ranks[sites.index(site), :, 1:] == 0).mean(axis=1), known[column], atol=1e-6)
        np.testing.assert_array_equal(ranks[3, -1], ranks[0, -1])


def test_all_models_of_a_data_set_show_the_same_images(run: Run, reader: Page) -> None:
    folder = run.folder / "results/small/explorer"
    facts = {name: arguments_in(folder / name / "model.js")[1] for name in ("m", "m_random", "n")}
    lists = {name: read(reader, found["images"])[0] for name, found in facts.items()}
    (images,) = {tuple(found["id"]) for found in lists.values()}
    classes = lists["m"]["class"].tolist()
    assert sorted(classes.count(index) for index in range(5)) == [1, 1, 1, 1, 2]
    for name, found in facts.items():
        predictions = table(run, f"predictions/{name}/d/validation.parquet")
        assert found["chosen"] == {"shown": SHOWN, "of": 10}
        assert found["accuracy"] == pytest.approx(predictions["correct"].mean())
        for kind, end in (("images", "js"), ("thumbnails", "jpg")):
            assert sorted(path.name for path in (folder / name / kind).iterdir()) == [f"{image:05d}.{end}" for image in images]


def test_numbers_over_blocks_and_their_means_over_all_images(run: Run, reader: Page) -> None:
    (_, facts) = arguments_in(run.folder / "results/small/explorer/m/model.js")
    arrays, _ = read(reader, facts["images"])
    ranks = table(run, "projections/m/d/validation/*.parquet").filter(pl.col("token") > 0, site="resid_post")
    tokens = ranks["token"].n_unique()
    per_image = ranks.group_by("image_id", "block").agg(rate=(1 - pl.col("rank") / 5).mean(), first=(pl.col("rank") == 0).sum())
    rates, first = (per_image.sort("image_id", "block")[name].to_numpy().reshape(10, 2) for name in ("rate", "first"))
    assert first.max() <= tokens
    np.testing.assert_allclose(arrays["mean_identifiability"], rates.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(arrays["mean_first"], first.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(arrays["first"], first[arrays["id"]])
    np.testing.assert_allclose(arrays["identifiability"] / 255, rates[arrays["id"]], atol=0.51 / 255)


def test_stories_show_images_that_the_explorer_has(run: Run, reader: Page) -> None:
    facts = {name: arguments_in(run.folder / f"results/small/explorer/{name}/model.js")[1] for name in ("m", "m_random", "n")}
    assert facts["m_random"]["stories"] == facts["n"]["stories"] == []  # models with random weights have nothing to tell
    states = {story["name"]: story["state"] for story in facts["m"]["stories"]}
    assert states["twin"] == {**facts["m"]["start"], "second": "m_random"}
    assert {state["image"] for state in states.values()} <= set(read(reader, facts["m"]["images"])[0]["id"].tolist())


def test_an_image_has_the_numbers_of_the_tables(run: Run, reader: Page) -> None:
    for path in sorted((run.folder / "results/small/explorer/m/images").iterdir()):
        name, image, text = arguments_in(path)
        arrays, facts = read(reader, text)
        for lens in ("rank", "top", "top_logit"):
            arrays[lens] = arrays[lens][:3]  # without the tuned lens
        arrays["interest_logit"] = arrays["interest_logit"][:, :3]
        assert (name, f"{image:05d}") == ("m", path.stem)
        rows = table(run, "projections/m/d/validation/*.parquet").filter(pl.col("site") != "resid_mid", image_id=image)
        rows = rows.sort(pl.col("site").replace_strict({"resid_post": 0, "attn_out": 1, "mlp_out": 2}), "block", "token")
        np.testing.assert_array_equal(arrays["rank"].ravel(), rows["rank"])
        top = arrays["top_class"][arrays["top"]].reshape(len(rows), -1)
        np.testing.assert_array_equal(top, np.array(rows["top5"].to_list()))
        interest = arrays["interest"].tolist()
        of_interest = arrays["interest_logit"].reshape(len(interest), -1) * float(facts["interest_logit_step"])
        others = arrays["top_logit"].reshape(top.shape) * float(facts["top_logit_step"])
        logits = [
            [of_interest[interest.index(index), row] if index in interest else others[row, place] for place, index in enumerate(line)]
            for row, line in enumerate(top.tolist())
        ]
        np.testing.assert_allclose(logits, np.array(rows["top5_logit"].to_list()), atol=0.00502)
        keys = table(run, "memory_keys/m/d/validation/*.parquet").filter(image_id=image)
        keys = keys.sort(pl.col("layer").replace_strict({"attn": 0, "mlp": 1}), "block", "token")
        np.testing.assert_array_equal(arrays["memory"].reshape(len(keys), -1), np.array(keys["memory"].to_list()))
        strength = arrays["coefficient"].reshape(len(keys), -1) * float(facts["coefficient_step"])
        np.testing.assert_allclose(strength, np.array(keys["coefficient"].to_list()), atol=0.00502)
        maps = table(run, "relevance/m/d.parquet").filter(image_id=image)
        relevance = np.array(maps["relevance"].to_list())
        largest = np.abs(relevance).max(axis=1, keepdims=True)
        assert np.all(np.abs(arrays["relevance"] * arrays["relevance_step"][:, None] - relevance) <= 2e-5 * largest)


def test_terms_of_heads_and_mlps_are_those_of_the_images_that_are_shown(run: Run, reader: Page) -> None:
    terms = table(run, "attribution/m/d_tokens.parquet")
    known = table(run, "attribution/m/d.parquet").sort("image_id", maintain_order=True)
    predictions = table(run, "predictions/m/d/validation.parquet")
    folder = run.folder / "results/small/explorer"
    paths = sorted((folder / "m/attribution").iterdir())
    assert [path.name for path in paths] == sorted(path.name for path in (folder / "m/images").iterdir())
    assert terms["image_id"].unique().sort().to_list() == [int(path.stem) for path in paths]
    for path in paths:
        name, image, text = arguments_in(path)
        arrays, _ = read(reader, text)
        (row,) = predictions.filter(image_id=image).iter_rows(named=True)
        rival = next(index for index in row["top"] if index != row["class_index"])
        assert (name, f"{image:05d}", arrays["class"].tolist()) == ("m", path.stem, [row["class_index"], rival])
        of_image = terms.filter(image_id=image)
        np.testing.assert_array_equal(arrays["term"].ravel(), of_image["logit"])
        np.testing.assert_allclose(arrays["term"][0], known.filter(image_id=image)["logit"], atol=1e-5)
        tokens = np.array(of_image["tokens"].drop_nulls().to_list()).reshape(arrays["token"].shape)
        steps = arrays["token_step"][..., None]
        assert np.all(np.abs(arrays["token"] * steps - tokens) <= 0.501 * steps)
    assert [(folder / other / "attribution").exists() for other in ("m_random", "n")] == [False, False]


@pytest.mark.parametrize(
    ("images", "stale"),
    [(5, EXPLORED), (10, EXPLORED), (SHOWN, set())],
    ids=["5", "10", "all that are shown"],
)
def test_another_number_of_images_makes_the_explorer_stale(run: Run, images: int, stale: set[str]) -> None:
    assert planned(run, "explorer", "--configfile", str(run.configure(config_of(images), "changed.yaml"))) == stale
