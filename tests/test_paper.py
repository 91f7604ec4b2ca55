"""The whole of config/paper.yaml, with little data, and narrow models whose checkpoints have the structure of the published ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from conftest import GOLDEN, REPOSITORY, Run
from polars.testing import assert_frame_equal
from published_files import write_archive, write_cifar_checkpoint, write_hub_model, write_imagenet_s_50, write_refinement_checkpoint

PAPER = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text(encoding="utf-8"))
NARROW: dict[str, Any] = {"embed_dim": 24, "num_heads": 2}
TABLES = {
    "attention_perturbation": ["vit_b32"],
    "context_difference": ["vit_b32", "vit_b16", "vit_l16", "vit_miil", "vit_refinement", "vit_gap"],
    "deletion_area": ["vit_b32"],
    "deletion_difference": ["vit_b32"],
    "identifiability": [*PAPER["models"], *(f"{name}_random" for name in PAPER["models"] if name != "vit_miil")],
    "interpretable_values": list(PAPER["models"]),
    "segmentation_scores": ["vit_b32"],
    "token_perturbation": ["vit_b32"],
}


def few_classes(target: Path) -> Path:
    """A copy of the images of five classes, in the layout of ImageNet-S 919."""
    images = GOLDEN / "data" / "ImageNetS919"
    others = sorted(folder.name for folder in (images / "validation").iterdir())[5:]
    shutil.copytree(images, target / "ImageNetS919", ignore=shutil.ignore_patterns(*others))
    shutil.copytree(GOLDEN / "data" / "data", target / "data")
    for listing in (target / "ImageNetS919").glob("*.csv"):
        lines = listing.read_text(encoding="utf-8").splitlines(keepends=True)
        listing.write_text("".join(line for line in lines if not any(name in line for name in others)), encoding="utf-8")
    return target


def shrunk(folder: Path, models: list[str], images: Path) -> dict[str, Any]:
    """The paper's config for some of its models, with little of everything, and files of the published structure for what it names."""
    config = yaml.safe_load(yaml.safe_dump(PAPER))
    config |= {"figures": {"formats": ["svg"]}, "deletion": {"steps": 3}}
    config["hub"] = {"cache": str(folder / "hub cache"), "offline": True}
    config["datasets"]["imagenet_s"] |= {"root": str(images), "images_per_class": 1, "probe_images_per_class": 2}
    config["datasets"]["cifar100"] |= {"root": str(folder / "cifar"), "images_per_class": 1}
    config["models"] = {name: config["models"][name] for name in models}
    for name, model in config["models"].items():
        model["kwargs"] = NARROW
        if name == "vit_cifar100":
            model["weights"] = str(folder / "cifar100.pth")
            write_cifar_checkpoint(folder / "cifar100.pth", model["arch"], NARROW)
            write_archive(folder / "cifar", "cifar100", 1)
        elif name == "vit_refinement":
            model["weights"] = str(folder / "deit_base_trm.pth")
            write_refinement_checkpoint(folder / "deit_base_trm.pth", model["arch"], NARROW)
        else:
            write_hub_model(folder / "hub cache", model["arch"], NARROW)
    if "vit_cifar100" not in models:
        del config["datasets"]["cifar100"]
    return config


def test_everything_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    done = Run(tmp_path).snakemake("--dry-run", "--configfile", REPOSITORY / "config" / "paper.yaml")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert len(errors) == 4
    for part in (
        "ImageNetS919/validation does not exist",
        "`datasets.cifar100.root`",
        "`models.vit_cifar100.weights`",
        "`models.vit_refinement.weights`",
    ):
        assert sum(part in line for line in errors) == 1


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("paper"))
    config = shrunk(run.folder, list(PAPER["models"]), few_classes(run.folder / "ImageNet-S"))
    run.complete("--configfile", run.configure(config))
    return run


def table(run: Run, name: str) -> pl.DataFrame:
    return pl.read_csv(run.folder / "results" / "paper" / "tables" / f"{name}.csv")


def test_every_table_shows_the_models_that_were_published(paper: Run) -> None:
    found = {path.stem: table(paper, path.stem) for path in (paper.folder / "results" / "paper" / "tables").glob("*.csv")}
    assert {name: sorted(set(frame["model"])) for name, frame in found.items()} == {name: sorted(models) for name, models in TABLES.items()}
    assert all(set(frame["protocol"]) == {"paper"} for frame in found.values())


def test_every_figure_is_there(paper: Run) -> None:
    figures = {path.stem for path in (paper.folder / "results" / "paper" / "figures").glob("*.svg")}
    assert {f"class_building_{model}" for model in PAPER["models"]} <= figures
    assert {f"class_vs_context_{model}" for model in TABLES["context_difference"]} <= figures
    assert {"class_vs_context_vit_cifar100"}.isdisjoint(figures)
    assert {"relevance_maps_vit_b32", "relevance_heads_vit_b32", "deletion_curves", "probes_vs_projection", "mean_evolution"} <= figures


def test_hidden_states_are_not_kept(paper: Run) -> None:
    assert not list((paper.folder / "results" / "paper" / "hidden_states").rglob("*.parquet"))
    assert "Nothing to be done" in paper.complete("--dry-run", "--configfile", paper.folder / "my config.yaml")


def test_excluded_classes_and_published_transforms(paper: Run) -> None:
    cards = {
        name: json.loads((paper.folder / "results" / "paper" / "models" / name / "model.json").read_text()) for name in PAPER["models"]
    }
    assert cards["vit_b32"]["transform"] == {
        "resize": [224, 224],
        "crop": None,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    assert cards["vit_refinement"]["transform"]["resize"] == [256, 256]
    assert cards["vit_miil"]["transform"]["mean"] == [0.0] * 3
    assert {name: card["depth"] for name, card in cards.items()} == {name: 24 if name == "vit_l16" else 12 for name in cards}
    assert cards["vit_cifar100"]["classes"] == 100


def test_the_50_class_layout_gives_the_same_numbers(paper: Run, tmp_path: Path) -> None:
    write_imagenet_s_50(paper.folder / "ImageNet-S", tmp_path / "ImageNet-S 50")
    run = Run(tmp_path / "run")
    config = shrunk(run.folder, ["vit_b32"], tmp_path / "ImageNet-S 50")
    config["datasets"]["imagenet_s"]["subset"] = 50
    run.complete("tables", "--configfile", run.configure(config))
    for name in TABLES:
        of_919 = table(paper, name).filter(pl.col("model").is_in(["vit_b32", "vit_b32_random"]))
        assert_frame_equal(table(run, name), of_919, rel_tol=1e-5)
