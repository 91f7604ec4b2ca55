"""The photographs that come with installed packages, and the whole of config/photos.yaml with a narrow model in the hub's cache."""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from conftest import REPOSITORY, Run
from PIL import Image
from published_files import write_hub_model

from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.data import photos
from classlens.errors import InputError

PHOTOS = yaml.safe_load((REPOSITORY / "config" / "photos.yaml").read_text(encoding="utf-8"))
NARROW = {"embed_dim": 24, "num_heads": 2, "depth": 3}


def test_photographs_are_copied_as_they_are(tmp_path: Path) -> None:
    photos.write(tmp_path / "validation")
    images = photos.images("validation")
    assert [image.path for image in images] == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    for photograph, image in zip(photos.PHOTOGRAPHS, images, strict=True):
        assert (tmp_path / image.path).read_bytes() == photograph.file.read_bytes()
        assert min(Image.open(tmp_path / image.path).size) >= 300


def test_a_missing_package_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"chelsea.png comes with scikit-image, which is not installed: make the pinned environment"):
        photos.write(tmp_path / "images")
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: importlib.util.spec_from_file_location(name, tmp_path / "__init__.py"))
    with pytest.raises(InputError, match=r"chelsea.png comes with scikit-image, but there is no file .*/data/chelsea.png"):
        photos.write(tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_the_page_lists_every_photograph_with_its_licence() -> None:
    page = (REPOSITORY / "docs" / "photos.md").read_text(encoding="utf-8")
    for photograph in photos.PHOTOGRAPHS:
        package = photograph.folder.partition("/")[0]
        row = f"| `{photograph.class_id}` | {photograph.name} | `{package}` | {photograph.licence} | {photograph.source} |"
        assert row in page
    assert yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]) == PHOTOS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "/data"}, "`datasets.photos.root` is not for kind photos"),
        ({"masks": "/data"}, "`datasets.photos.masks` is not for kind photos"),
        ({"class_order": "timm"}, "`datasets.photos.class_order` is for folders that name the classes"),
        ({"classes": "imagenet"}, "`datasets.photos.classes` is for kinds imagefolder and table only"),
    ],
)
def test_settings_that_photographs_do_not_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve({**PHOTOS, "datasets": {"photos": {"kind": "photos", **changes}}})


def planned_with(analyses: list[str], **model: Any) -> Plan:
    model = {"arch": "vit_tiny_patch16_224", "weights": "random", **model}
    return Plan(resolve({**PHOTOS, "models": {"m": model}, "analyses": analyses}), "results/photos")


def test_analyses_that_photographs_do_not_allow() -> None:
    plan = planned_with(["identifiability", "context", "tokens"])
    assert plan.models["m"].analyses == ("identifiability",)
    assert plan.datasets["photos"].num_classes == 1000
    with pytest.raises(InputError, match=r"there is one image per class and no split test: .*; leave `probes` out of `analyses`$"):
        planned_with(["probes"])
    with pytest.raises(InputError, match=r"`datasets.photos.kind` is photos, which has no images to train on"):
        planned_with(["identifiability"], weights="trained")


# The whole config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The config as it is delivered, except for a narrow model, whose weights are in the hub's cache."""
    run = Run(tmp_path_factory.mktemp("photos"))
    config = yaml.safe_load(yaml.safe_dump(PHOTOS))
    config["models"]["vit"]["kwargs"] = NARROW
    write_hub_model(run.folder / "hub", config["models"]["vit"]["arch"], NARROW)
    hub = {"cache": str(run.folder / "hub"), "offline": True}
    run.complete("--configfile", run.configure({**config, "hub": hub, "figures": {"formats": ["svg"]}}))
    return run


def test_figures_tables_and_explorer_are_there(run: Run) -> None:
    results = run.folder / "results" / "photos"
    figures = {path.stem for path in (results / "figures").glob("*.svg")}
    assert {"identifiability_evolution", "mean_evolution", "class_building_vit", "relevance_maps_vit", "agreement_difference"} <= figures
    accuracy = pl.read_csv(results / "tables" / "identifiability.csv").filter(model="vit")["accuracy"]
    assert len(accuracy) > 0
    assert accuracy.null_count() == 0
    assert (results / "explorer" / "index.html").is_file()
    assert not [path for path in (results / "logs").rglob("*.log") if "Traceback" in path.read_text(encoding="utf-8")]


def test_people_see_names_of_classes(run: Run) -> None:
    results = run.folder / "results" / "photos"
    manifest = pl.read_parquet(results / "data" / "photos" / "validation" / "manifest.parquet")
    assert manifest["class_name"].to_list()[0] == "tabby, tabby cat"
    for path in (results / "figures").glob("*.svg"):
        assert re.search(r"\bn\d{8}\b", path.read_text(encoding="utf-8")) is None, path
    assert json.loads((results / "models" / "vit" / "model.json").read_text(encoding="utf-8"))["classes"] == 1000


def test_without_a_network_the_run_stops_before_it_computes(tmp_path: Path) -> None:
    """HF_HUB_OFFLINE stands for a missing network, which also is a reason of one line."""
    run = Run(tmp_path)
    empty = run.configure({**PHOTOS, "hub": {"cache": str(tmp_path / "hub")}})
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [*run.command("--printshellcmds", "--configfile", empty)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("What went wrong: ")]
    assert done.returncode == 1
    assert len(said) == 1
    assert re.search(r"model.safetensors of timm/vit_base\S+ is not in the hub's cache .* cannot be downloaded \(.*offline", said[0])
    assert "run `hf download timm/vit_base_patch16_224.augreg_in21k_ft_in1k`" in said[0]
    finished = re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", done.stdout + done.stderr)
    assert set(finished) <= {"photos", "classes"}
