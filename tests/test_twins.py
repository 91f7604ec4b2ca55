"""Random twins: their plan, one job that makes and measures all of a model, and that it gives what the steps of any model give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import yaml
from conftest import Run, planned
from PIL import Image
from polars.testing import assert_frame_equal

from classlens.analyses import agreement, extraction, identifiability, projection, projection_table, twins
from classlens.analyses.agreement import MemoryUse
from classlens.analyses.model_run import ModelRun
from classlens.compute.device import Compute
from classlens.config.catalogue import FIGURES, TABLES
from classlens.config.plan import Plan, twin_seed
from classlens.config.reading import resolve
from classlens.data.manifest import SCHEMA as MANIFEST
from classlens.data.transforms import Transform
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import loading
from classlens.models.card import Card
from classlens.protocol import CORRECTED, PAPER, Protocol
from classlens.storage import parquet, provenance

ARCH = "vit_tiny_patch16_224"
SMALL = {"arch": ARCH, "kwargs": {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}}


def plan(models: dict[str, dict[str, Any]], **changes: Any) -> Plan:
    config = {"datasets": {"d": {"kind": "shapes"}}, "models": models, **changes}
    return Plan(resolve(config), "results/x")


def trained(**changes: Any) -> dict[str, Any]:
    return {"arch": ARCH, "weights": "trained", **changes}


# Plan


@pytest.mark.parametrize(
    ("asked", "protocol", "number"),
    [
        (True, "corrected", 5),
        (True, "paper", 1),
        ({"seeds": 3}, "corrected", 3),
        ({"seeds": 2}, "paper", 2),
        ({}, "paper", 1),
        (False, "paper", 0),
    ],
)
def test_a_model_has_as_many_twins_as_seeds(asked: Any, protocol: str, number: int) -> None:
    found = plan({"m": trained(random_twin=asked)}, protocol=protocol, seed=7)
    names = ["m_random", "m_random_1", "m_random_2", "m_random_3", "m_random_4"][:number]
    assert list(found.models) == ["m", *names]
    assert found.models["m"].twins == tuple(names)
    assert found.measured_together == ({"m": names} if names else {})
    assert found.explored == ["m", *names[:1]]
    seeds = [found.models[name].seed for name in names]
    assert seeds[:1] == [7][:number]  # the first has the weights that the run's seed gives
    assert len(set(seeds)) == number
    assert [found.model_step(name).seed for name in names] == seeds


def test_seeds_of_two_runs_have_nothing_in_common() -> None:
    seeds = [{twin_seed(seed, number) for number in range(5)} for seed in range(50)]
    assert len(set.union(*seeds)) == 250


def test_models_of_one_label_are_told_apart() -> None:
    found = plan({name: trained(label=label, random_twin={"seeds": 1}) for name, label in {"a": "ViT", "b": "ViT", "c": "DeiT"}.items()})
    labels = [model.label for model in found.models.values()]
    assert labels == ["ViT (a)", "ViT (a) (random)", "ViT (b)", "ViT (b) (random)", "DeiT", "DeiT (random)"]


def test_a_borrowed_twin_is_all_of_them() -> None:
    found = plan({"m": trained(random_twin={"seeds": 2}), "n": trained(random_twin="m")})
    assert found.models["n"].twins == found.models["m"].twins == ("m_random", "m_random_1")
    assert list(found.models) == ["m", "m_random", "m_random_1", "n"]


def test_twins_need_memories_where_a_model_that_they_are_compared_with_has_them() -> None:
    borrowing = {"m": trained(analyses=["identifiability"]), "n": trained(random_twin="m", analyses=["memories"])}
    found = plan(borrowing)
    assert found.twins_need_memories("m")
    assert found.files_of((f6(),))
    assert found.models_of(f6()) == [*found.models["m"].twins, "n"]
    assert not plan({"m": trained(analyses=["identifiability"])}).twins_need_memories("m")


def f6() -> Any:
    return next(item for item in FIGURES if item.name == "class_value_agreement")


def test_twins_with_further_analyses_are_models_like_others() -> None:
    found = plan({"m": trained(random_twin={"seeds": 2, "analyses": ["building"]}, analyses=["identifiability", "memories"])})
    assert found.measured_together == {}
    assert found.measured_alone == ["m", "m_random", "m_random_1"]
    assert found.models["m_random_1"].analyses == ("identifiability", "building", "memories")  # memories are the reference of F6 to F10
    assert found.explored == ["m", "m_random"]


def test_nothing_is_compared_with_twins_of_a_model_that_a_figure_does_not_show() -> None:
    found = plan({"m": trained(analyses=["memories"])})
    assert "F1" not in found.figures()
    assert found.presented == ["m", "m_random"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"m": trained(), "m_random_4": trained()}, "`models.m_random_4` is the name of a random twin of m"),
        ({"m": trained(random_twin={"seeds": 0})}, "`models.m.random_twin.seeds`: 0 is less than the minimum of 1"),
        ({"m": trained(random_twin={"seed": 3})}, "`models.m.random_twin.seed` is not known: did you mean `seeds`?"),
        ({"m": trained(random_twin={"analyses": ["relevanc"]})}, "did you mean `relevance`?"),
        ({"m": {"arch": ARCH, "weights": "random", "random_twin": {"seeds": 2}}}, "whose weights are not random: remove it"),
        ({"m": trained(random_twin=False), "n": trained(random_twin="m")}, "give a model of the same data set that has a twin"),
        ({"m": trained(random_twin="m")}, "give a model of the same data set that has a twin"),
    ],
)
def test_errors_name_the_key(models: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(models)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_twins_name_is_free() -> None:
    assert "m_random_5" in plan({"m": trained(), "m_random_5": trained(random_twin=False)}).models
    assert "m_random_1" in plan({"m": trained(), "m_random_1": trained()}, protocol="paper").models


# One job


def manifest_of(folder: Path, shards: list[int]) -> pa.Table:
    """Noise as images of three classes, so many in each shard."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for shard, count in enumerate(shards):
        for _ in range(count):
            path = folder / f"{len(rows)}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
            row = {"image_id": 3 * len(rows), "class_index": len(rows) % 3, "path": path.name, "shard": f"{shard:05d}"}
            rows.append({**row, "sha256": provenance.sha256(path)})
    return pa.Table.from_pylist(rows, MANIFEST)


def twin_in(folder: Path, seed: int, arch: str, protocol: Protocol) -> None:
    torch.manual_seed(seed)
    model = loading.build(arch, SMALL["kwargs"], 7)
    folder.mkdir(parents=True)
    loading.save(model, folder / "model.safetensors")
    transform = {"resize": [32, 32], "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    loading.describe(
        model, arch, SMALL["kwargs"], "random", transform=transform, protocol=protocol, weights=folder / "model.safetensors"
    ).write(folder / "model.json")


@pytest.mark.parametrize(
    ("arch", "dtype", "protocol", "classes"),
    [(ARCH, "float16", CORRECTED, [4]), ("vit_base_patch16_rpn_224", "float32", PAPER, [])],
)
def test_all_twins_at_once_give_what_each_gives_step_by_step(
    tmp_path: Path, arch: str, dtype: str, protocol: Protocol, classes: list[int]
) -> None:
    manifest, run = manifest_of(tmp_path, [4, 3]), Compute(torch.device("cpu"), batch_size=2)
    of_image = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
    together, apart = [], []
    for number in range(2):
        twin_in(tmp_path / f"{number}", number, arch, protocol)
        model, card = loading.load_model(tmp_path / f"{number}")
        paths = [tmp_path / f"{name}.{number}" for name in ("p", "q0", "q1", "c0", "c1")]
        use = MemoryUse(agreement.layer_memories(model), card, of_image, protocol)
        together.append(twins.Twin(model, card, paths[0], paths[1:3], [] if number else paths[3:], use, {"model_sha256": card.sha256}))
        apart.append(step_by_step(tmp_path / f"steps{number}", tmp_path / f"{number}", manifest, tmp_path, run, dtype, classes, protocol))
    twins.measure(together, manifest, tmp_path, twins.Settings(dtype, 5, classes, protocol), run)
    for number, (twin, steps) in enumerate(zip(together, apart, strict=True)):
        assert_frame_equal(read(twin.predictions), read(*steps["predictions"]))
        projected = read(*steps["projections"])
        assert_frame_equal(read(*twin.projections), projected.filter(site="resid_post"))
        if not number:
            assert_frame_equal(read(*twin.class_logits), read(*steps["class_logits"]).filter(site="resid_post"))
        found = [
            identifiability.per_image(projection_table.read(paths, twin.card), twin.card, protocol)
            for paths in (twin.projections, steps["projections"])
        ]
        for one, other in zip(*found, strict=True):
            assert_frame_equal(one, other)
        assert twin.use
        predictions = read(twin.predictions)
        for one, other in zip(
            (*twin.use.tables(predictions), twin.use.chance()), (*steps["use"].tables(predictions), steps["use"].chance()), strict=True
        ):
            assert_frame_equal(one, other)
    assert not read(together[0].projections[0]).equals(read(together[1].projections[0]))


def read(*paths: Path) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(parquet.read_table(path)).with_columns(pl.col(pl.Categorical).cast(pl.String)) for path in paths])


def step_by_step(
    folder: Path, model_folder: Path, manifest: pa.Table, root: Path, run: Compute, dtype: str, classes: list[int], protocol: Protocol
) -> dict[str, Any]:
    """What extraction, projection and memories make of a model."""
    model, card = loading.load_model(model_folder)
    layers = agreement.layer_memories(model)
    found: dict[str, Any] = {"predictions": [], "projections": [], "class_logits": []}
    shards = []
    for shard in ("00000", "00001"):
        part = manifest.filter(pc.field("shard") == shard)
        states, predictions, keys, projections, logits = (folder / f"{shard}.{name}" for name in ("s", "p", "k", "q", "c"))
        images = ModelRun(model, Lens.from_model(model), card, part, root, Transform(card.transform), run, protocol, {})
        extraction.extract(images, dtype, extraction.Outputs(states, predictions, keys))
        interest = projection.classes_of_interest(part, parquet.read_table(predictions), classes)
        project = projection.Projector(Lens.from_model(model), card, 5, run, protocol)
        project.shard(states, interest, projection.Outputs(projections, logits), {})
        for name, path in zip(found, (predictions, projections, logits), strict=True):
            found[name].append(path)
        shards.append((keys, projection_table.read([projections], card)))
    of_image = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
    found["use"] = MemoryUse(layers, card, of_image, protocol)
    agreement.of_shards(shards, found["use"], card)
    return found


def test_a_layer_with_too_few_memories_is_refused(tmp_path: Path) -> None:
    model = loading.build(ARCH, {"img_size": 32, "embed_dim": 4, "num_heads": 1, "depth": 1}, 3)
    from classlens.analyses import memories

    with pytest.raises(InputError, match="has 4 memories and a token uses 5: leave `memories` out"):
        memories.sites(model, CORRECTED)


# A run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on folders of one class and of two, whose models have memories and two twins each."""
    home = tmp_path_factory.mktemp("twins")
    rng = np.random.default_rng(0)
    for name in ("one/validation/a", "two/validation/a", "two/validation/b"):
        for number in range(3):
            path = home / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    for classes, name in ((1, "one"), (2, "two")):
        torch.manual_seed(classes)
        torch.save(loading.build(ARCH, SMALL["kwargs"], classes).state_dict(), home / f"{name}.pt")
    datasets = {name: {"kind": "imagefolder", "root": f"../images/{name}", "images_per_class": None} for name in ("one", "two")}
    config = {
        "run": "small",
        "datasets": datasets,
        "models": {name: {**SMALL, "weights": f"../{name}.pt", "dataset": name, "random_twin": {"seeds": 2}} for name in datasets},
        "analyses": ["identifiability", "memories"],
        "hidden_states": {"shard_size": 3},
        "figures": {"formats": ["svg"]},
    }
    made = Run(home / "work")
    made.complete("--configfile", made.configure(config))
    return made


def config_of(run: Run) -> dict[str, Any]:
    return yaml.safe_load((run.folder / "my config.yaml").read_text(encoding="utf-8"))


def test_one_and_two_classes_have_every_figure(run: Run) -> None:
    figures = {path.stem for path in (run.folder / "results/small/figures").glob("*.svg")}
    assert {"identifiability_evolution", "class_value_agreement", "key_value_agreement", "memory_comparison", "compositionality"} <= figures
    shares = pl.read_csv(run.folder / "results/small/figures/key_value_agreement.csv")
    assert shares["mean"].eq(100).all()  # five classes or fewer: every memory stands for all of them
    assert shares["chance"].eq(100).all()
    boxes = pl.read_csv(run.folder / "results/small/figures/identifiability_evolution.csv")
    assert boxes.filter(model="one").select("mean", "twins_mean", "p").unique().rows() == [(1, 1, None)]  # the only class is always first


def test_twins_have_what_the_results_promise_and_no_hidden_states(run: Run) -> None:
    results = run.folder / "results" / "small"
    assert not list((results / "hidden_states").glob("*_random*"))
    for name in ("two_random", "two_random_1"):
        card = Card.read(results / "models" / name / "model.json")
        assert provenance.sha256(results / "models" / name / "model.safetensors") == card.sha256
        shards = sorted((results / "projections" / name / "two" / "validation").glob("*.parquet"))
        assert [path.name for path in shards] == [f"{number:05d}.parquet" for number in range(2)]
        projections = read(*shards)
        assert set(projections["site"]) == {"resid_post"}
        assert len(projections) == 6 * card.tokens * card.depth
        for path in (f"predictions/{name}/two/validation", f"identifiability/{name}/two", f"identifiability/{name}/two_ranks"):
            assert len(parquet.read_table(results / f"{path}.parquet", model=card.sha256))
    assert sorted(path.name for path in (results / "explorer").iterdir() if path.is_dir()) == ["one", "one_random", "two", "two_random"]


def test_the_table_has_one_row_for_all_twins_of_a_model(run: Run) -> None:
    results = run.folder / "results" / "small"
    table = pl.read_csv(results / "tables" / "identifiability.csv")
    assert table["model"].to_list() == ["one", "one_random", "two", "two_random"]
    row = table.filter(model="two_random").row(0, named=True)
    tables = [read(results / f"identifiability/{name}/two.parquet") for name in ("two_random", "two_random_1")]
    rates = [100 * frame.filter(tokens="image", block=1)["first"].mean() for frame in tables]
    columns = ("identifiability_rate", "identifiability_rate_low", "identifiability_rate_high", "seeds")
    assert [row[name] for name in columns] == pytest.approx([np.mean(rates), min(rates), max(rates), 2])
    assert table.filter(model="two")["seeds"].to_list() == [None]


AGAINST_TWINS = {f"{kind}_{item.name}" for kind, items in (("figure", FIGURES), ("table", TABLES)) for item in items if item.against_twins}


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda config: None, set()),
        (
            lambda config: config["models"]["two"].update(random_twin={"seeds": 3}),
            AGAINST_TWINS | {"twins_two", "explorer_model", "explorer", "report_pages"},
        ),
        (lambda config: config["models"]["two"].update(random_twin=False), AGAINST_TWINS | {"explorer_model", "explorer", "report_pages"}),
        (lambda config: config["compute"].update(batch_size=1), set()),
    ],
    ids=["nothing", "a seed more", "no twins", "batch size"],
)
def test_what_is_stale_when_the_twins_change(run: Run, change: Callable[[dict[str, Any]], None], stale: set[str]) -> None:
    config = {"compute": {}, **config_of(run)}
    change(config)
    assert planned(run, "--configfile", str(run.configure(config, "changed.yaml"))) == stale


def test_a_profile_speaks_of_the_twins_of_all_models_at_once(run: Run) -> None:
    config = run.configure({**config_of(run), "run": "other"}, "other.yaml")
    given = ("--set-threads", "twins=1", "--set-resources", "twins:mem_mb=777")
    shown = run.complete("--dry-run", "--printshellcmds", *given, "--configfile", config)
    commands = [line for line in shown.splitlines() if "/twins.py" in line]
    assert len(commands) == 2
    assert all("--threads 1 " in line and "--mem-mb=777" in line for line in commands)
