"""Releases: one version everywhere, a citation that agrees with the deposit's metadata, and a check that refuses what is not ready."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

import classlens
import release

CITED = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))


def test_all_files_state_the_version_of_the_code() -> None:
    assert set(release.versions(REPOSITORY).values()) == {classlens.__version__}
    assert CITED["version"] == classlens.__version__


def test_the_deposit_of_the_software_agrees_with_its_citation() -> None:
    deposit = json.loads((REPOSITORY / ".zenodo.json").read_text(encoding="utf-8"))
    assert deposit["license"] == CITED["license"]
    assert deposit["keywords"] == CITED["keywords"]
    assert [creator["name"] for creator in deposit["creators"]] == [author["name"] for author in CITED["authors"]]
    assert deposit["description"] == f"<p>{CITED['abstract']}</p>"
    assert [item["identifier"] for item in deposit["related_identifiers"]] == [CITED["preferred-citation"]["doi"]]


def test_the_readme_cites_the_same_paper() -> None:
    readme, paper = (REPOSITORY / "README.md").read_text(encoding="utf-8"), CITED["preferred-citation"]
    said = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", readme, re.MULTILINE))
    assert said["title"] == paper["title"]
    assert said["pages"] == f"{paper['start']}--{paper['end']}"
    assert (said["volume"], said["year"]) == (str(paper["volume"]), str(paper["year"]))
    assert [name.partition(",")[0] for name in said["author"].replace('\\"{o}', "ö").split(" and ")] == [
        author["family-names"] for author in paper["authors"]
    ]


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A checkout that can be released."""
    for name, text in {
        "workflow/scripts/classlens/version.py": '__version__ = "2.0.1"\n',
        "CITATION.cff": "cff-version: 1.2.0\nversion: 2.0.1\n",
        "CHANGELOG.md": "# Changelog\n\n## 2.0.1 (2027-01-31)\n\n- New.\n\n## 2.0.0 (2027-01-01)\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "All")


def test_a_clean_dated_version_can_be_released(ready: Path) -> None:
    assert list(release.problems(ready)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("CITATION.cff", "version: 2.0.1", "version: 2.0.0", "the versions differ: .*2.0.0 in CITATION.cff"),
        ("CITATION.cff", "\nversion: 2.0.1", "", "the versions differ: .*none in CITATION.cff"),
        ("CHANGELOG.md", "2.0.1", "2.1.0", "the versions differ: .*2.1.0 in CHANGELOG.md"),
        ("CHANGELOG.md", "2027-01-31", "unreleased", r"CHANGELOG.md gives 2.0.1 no date: write it as ## 2.0.1 \(YYYY-MM-DD\)"),
        ("workflow/scripts/classlens/version.py", "2.0.1", "2.0.2", "the versions differ: 2.0.2 in workflow"),
    ],
)
def test_what_is_not_ready_is_said(ready: Path, name: str, old: str, new: str, message: str) -> None:
    path = ready / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    commit(ready)
    (problem,) = release.problems(ready)
    assert re.match(message, problem)


def test_changes_that_are_not_committed_are_named(ready: Path) -> None:
    (ready / "notes.txt").touch()
    assert list(release.problems(ready)) == ["git status lists changes: commit or remove notes.txt"]
