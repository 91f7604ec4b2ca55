"""Metadata of an archive for Zenodo: what it says about the run, and where it takes creators, licence and identifiers from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import archives
import pytest
import yaml
from conftest import REPOSITORY
from PIL import Image

import classlens
from classlens.archive import deposit, publication
from classlens.config.plan import Plan

CITATION = REPOSITORY / "CITATION.cff"


def described(home: Path, citation: Path = CITATION, **changes: Any) -> dict[str, Any]:
    """The metadata of an archive that is published in a folder."""
    archive = archives.publish(home, **changes)
    plan = Plan(archives.resolved(**changes), str(home / "small"))
    return deposit.metadata(plan, archive, hashlib.sha256(archive.read_bytes()).hexdigest(), citation)["metadata"]


def photographs(root: Path) -> dict[str, Any]:
    """A data set in a folder of the user."""
    for split in ("validation", "test"):
        (root / split / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / split / "a" / "1.png")
    return {"kind": "imagefolder", "root": str(root), "images_per_class": None, "probe_images_per_class": None}


def test_the_same_results_give_the_same_metadata(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert json.dumps(described(tmp_path / "a")) == json.dumps(described(tmp_path / "b"))


def test_the_description_says_what_the_archive_is(tmp_path: Path) -> None:
    text = described(tmp_path)["description"]
    archive = tmp_path / "small.tar"
    names = publication.files(Plan(archives.resolved(), str(tmp_path / "small")))
    assert f"small.tar ({archive.stat().st_size} bytes, sha256 {hashlib.sha256(archive.read_bytes()).hexdigest()})" in text
    assert f"contains {len(names)} files" in text
    assert "Models (1, and 0 random twins)" in text
    assert "<li>m: vit_tiny_patch16_224, weights random</li>" in text
    assert "<li>d (shapes): 10 images of the split validation, 10 images of the split test</li>" in " ".join(text.split())
    assert "make adopt FILE=small.tar" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(("analyses", "shown"), [(["identifiability"], False), (["identifiability", "relevance"], True)])
def test_images_of_others_keep_their_licence(tmp_path: Path, analyses: list[str], shown: bool) -> None:
    text = described(tmp_path, datasets={"birds": photographs(tmp_path / "images")}, analyses=analyses)["description"]
    assert ("images of birds that figure F11 shows. The licence of these images" in text) is shown


def test_generated_images_are_nobodys(tmp_path: Path) -> None:
    assert "licence" not in described(tmp_path, analyses=["identifiability", "relevance"])["description"]


def test_names_in_the_description_are_no_html(tmp_path: Path) -> None:
    model = archives.resolved().models["m"].model_dump(exclude_unset=True)
    text = described(tmp_path, models={"m": {**model, "label": "<script>"}})["description"]
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_people_and_identifiers_are_those_of_the_citation(tmp_path: Path) -> None:
    cited = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    cited["authors"] = [
        {"name": "A Group"},
        {"family-names": "Doe", "given-names": "Ann", "affiliation": "A Place", "orcid": "https://orcid.org/0000-0002-1825-0097"},
    ]
    cited |= {"license": "BSD-3-Clause", "repository-code": "https://example.org/code"}
    changed = tmp_path / "CITATION.cff"
    changed.write_text(yaml.safe_dump(cited), encoding="utf-8")
    found = described(tmp_path, changed)
    assert found["creators"] == [{"name": "A Group"}, {"name": "Doe, Ann", "affiliation": "A Place", "orcid": "0000-0002-1825-0097"}]
    assert found["license"] == "BSD-3-Clause"
    assert found["version"] == classlens.__version__
    assert [(item["identifier"], item["relation"]) for item in found["related_identifiers"]] == [
        ("10.48550/arXiv.2310.18969", "references"),
        ("https://example.org/code", "isCompiledBy"),
    ]


def test_software_without_an_address_is_not_named(tmp_path: Path) -> None:
    cited = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    changed = tmp_path / "CITATION.cff"
    changed.write_text(yaml.safe_dump({key: value for key, value in cited.items() if key != "repository-code"}), encoding="utf-8")
    assert [item["relation"] for item in described(tmp_path, changed)["related_identifiers"]] == ["references"]
