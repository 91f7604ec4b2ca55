"""The configs of docs/own_models.md, run with small files at the places that they name."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import transformers as hf
import yaml
from conftest import REPOSITORY, Run
from markdown_it import MarkdownIt
from PIL import Image
from published_files import state
from safetensors.torch import save_file

CLASSES = ("cup", "fish", "leaf")
NARROW: dict[str, Any] = {"embed_dim": 24, "num_heads": 2, "depth": 2}
IMAGES = 4
"""Number of images of each class and split."""


def recipes() -> list[dict[str, Any]]:
    tokens = MarkdownIt().parse((REPOSITORY / "docs" / "own_models.md").read_text(encoding="utf-8"))
    return [yaml.safe_load(token.content) for token in tokens if token.info == "yaml"]


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in (f"{split}/{label}/{number}.png" for split in ("train", "validation") for label in CLASSES for number in range(IMAGES)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)


def write_table(table: Path) -> None:
    """A table of the images of one split, with paths relative to its folder."""
    folder = table.with_suffix("")
    write_images(folder)
    rows = [f"{path.relative_to(table.parent)},{path.parent.name}" for path in sorted(folder.glob("validation/*/*.png"))]
    table.write_text("\n".join(["path,label", *rows]), encoding="utf-8")


def write_checkpoint(path: Path, arch: str, **kwargs: Any) -> None:
    save_file(state(arch, {**NARROW, **kwargs}), path)


def write_folder_of_transformers(folder: Path) -> None:
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": 32,
        "patch_size": 8,
    }
    config = hf.ViTConfig(**sizes, id2label=dict(enumerate(CLASSES)), label2id={label: row for row, label in enumerate(CLASSES)})
    hf.ViTForImageClassification(config).save_pretrained(folder)
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def with_files(recipe: dict[str, Any], data: Path) -> dict[str, Any]:
    """Return a recipe whose paths are in another folder, with small files at these places, a narrow model and one analysis."""
    recipe = yaml.safe_load(yaml.safe_dump(recipe).replace("/data/", f"{data}/"))
    [(dataset, of_dataset)], [(name, model)] = recipe["datasets"].items(), recipe["models"].items()
    write = {"imagefolder": write_images, "table": write_table}[of_dataset["kind"]]
    write(Path(of_dataset["root"]))
    weights = Path(model["weights"])
    if weights.suffix == ".safetensors":
        write_checkpoint(weights, model["arch"], num_classes=0 if "class_embedding" in model else len(CLASSES))
        model["kwargs"] = NARROW
    elif weights.is_absolute():
        write_folder_of_transformers(weights)
    of_dataset["images_per_class"] = IMAGES
    model |= {"dataset": dataset, "random_twin": False}
    return {"datasets": recipe["datasets"], "models": {f"{recipe['run']}_{name}": model}}


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Table T1 of one run of all recipes, which share the start of the workflow."""
    run = Run(tmp_path_factory.mktemp("recipes"))
    parts = [with_files(recipe, run.folder) for recipe in recipes()]
    merged = {key: {name: value for part in parts for name, value in part[key].items()} for key in ("datasets", "models")}
    run.complete("T1", "--configfile", run.configure({"run": "recipes", "analyses": ["identifiability"], **merged}))
    return pl.read_csv(run.folder / "results" / "recipes" / "tables" / "identifiability.csv")


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe["run"])
def test_a_recipe_runs(recipe: dict[str, Any], accuracies: pl.DataFrame) -> None:
    rows = accuracies.filter(model=f"{recipe['run']}_{next(iter(recipe['models']))}")
    assert set(rows["images"]) == {len(CLASSES) * IMAGES}
    assert rows["accuracy"].null_count() == 0
