"""What a person sees when something is wrong: one line that names it, exit status 1, and nothing half-written."""

import errno
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN, GOLDEN_MODELS, REPOSITORY, Run, small_config

import cli
from classlens.data.images import read_unchanged
from classlens.errors import InputError
from classlens.models.loading import build

KWARGS = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 2}


def config(**changes: Any) -> dict[str, Any]:
    model = {**GOLDEN_MODELS["cls"], "weights": str(GOLDEN / "cls.safetensors")}
    return {"datasets": {"d": {"kind": "imagenet_s", "root": str(GOLDEN / "data")}}, "models": {"m": model}, **changes}


def refusal(run: Run, content: dict[str, Any]) -> str:
    """The error lines of a run that is refused before anything starts."""
    done = run.snakemake("--dry-run", "--configfile", run.configure(content))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (run.folder / "results").exists()
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protcol": "paper"}, "`protcol` is not known: did you mean `protocol`?"),
        ({"datasets": {"d": {"kind": "imagenet_s", "root": "/nowhere"}}}, "/nowhere/ImageNetS919/validation does not exist"),
        (
            {"datasets": {"d": {"kind": "imagenet_s", "root": str(GOLDEN / "data"), "images_per_class": 6}}},
            "5 images, but the config needs 6",
        ),
        ({"models": {"m": {"arch": "vit_tiny_patch16_224", "weights": "/no/file.pt"}}}, "`models.m.weights`: there is no file /no/file.pt"),
        ({"models": {"m": {"arch": "vit_tiny_patch16_224", "weights": "trained"}}}, "ImageNetS919/train does not exist"),
        ({"figures": {"style": "no.mplstyle"}}, "`figures.style`: there is no file no.mplstyle"),
    ],
)
def test_refused_before_anything_starts(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(Run(tmp_path / "work"), config(**changes))


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A user's folder with images, a checkpoint and a run up to the hidden states."""
    home = tmp_path_factory.mktemp("faults")
    images = home / "images"
    for split in ("validation", "validation-segmentation"):
        shutil.copytree(GOLDEN / "data" / "ImageNetS919" / split, images / "ImageNetS919" / split)
    shutil.copytree(GOLDEN / "data" / "data", images / "data")
    torch.manual_seed(0)
    torch.save(build("vit_tiny_patch16_224", KWARGS, 1000).state_dict(), home / "weights.pt")
    run = Run(home / "work")
    model = {
        "arch": "vit_tiny_patch16_224",
        "kwargs": KWARGS,
        "weights": "../weights.pt",
        "random_twin": False,
        "analyses": ["identifiability"],
    }
    content = {
        "run": "mine",
        "datasets": {"d": {"kind": "imagenet_s", "root": "../images", "images_per_class": 1}},
        "models": {"m": model},
        "hidden_states": {"shard_size": 10},
    }
    run.complete(STATES, "--configfile", run.configure(content))
    return run


STATES = "results/mine/hidden_states/m/d/validation/00000.parquet"
PROJECTIONS = "results/mine/projections/m/d/validation/00000.parquet"


def failure(run: Run, *arguments: str) -> str:
    """The one error line of a run in which a job fails."""
    done = run.snakemake(*arguments, "--configfile", run.folder / "my config.yaml")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_damaged_image_is_named_and_nothing_is_left_half_written(user: Run) -> None:
    image = next((user.folder / "../images/ImageNetS919/validation").resolve().rglob("*.JPEG"))
    content = image.read_bytes()
    image.write_bytes(content[:300])
    message = failure(user, "--forcerun", "manifest", "--until", "manifest")
    image.write_bytes(content)
    assert image.name in message
    assert "cannot be decoded" in message
    assert "on_bad_image: skip" in message
    folder = user.folder / "results/mine/data/d/validation"
    assert {path.name for path in folder.glob("*")} <= {"manifest.parquet", "classes.parquet"}


def test_a_damaged_shard_is_named_by_its_reader(user: Run) -> None:
    user.complete(STATES, "--configfile", user.folder / "my config.yaml")
    path = user.folder / STATES
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = failure(user, PROJECTIONS)
    path.write_bytes(content)
    assert f"{STATES} cannot be read" in message
    assert not (user.folder / PROJECTIONS).exists()


def test_an_image_that_the_workflow_made_is_mended_as_the_message_says(tmp_path: Path) -> None:
    run, states = Run(tmp_path / "run"), "results/small/hidden_states/m/d/validation/00000.parquet"
    configured = ("--configfile", run.configure(small_config()))
    run.complete("results/small/data/d/validation/manifest.parquet", *configured)
    image = next((run.folder / "results/small/data/d/images/ImageNetS5/validation").rglob("*.jpg"))
    content = image.read_bytes()
    os.truncate(image, 50)
    advice = re.search(r"changed .*: the workflow made it, so delete the folder (.*) and run the workflow again", failure(run, states))
    assert advice
    image.unlink()
    assert advice[1] in failure(run, states)
    shutil.rmtree(run.folder / advice[1])
    run.complete(states, *configured)
    assert image.read_bytes() == content


def test_nobody_is_told_to_delete_images_of_their_own(tmp_path: Path) -> None:
    image = tmp_path / "images" / "validation" / "1.png"
    for path in (image, tmp_path / "validation" / "manifest.parquet"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png has changed since the manifest was made: run the workflow again$"):
        read_unchanged(image, "another")


def test_a_full_disk_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def main(args: Any, _: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/x.parquet")

    with pytest.raises(SystemExit) as stopped:
        cli.run(main, cli.Parser(""), [])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.strip() == "error: results/x.parquet: No space left on device"


def programs() -> list[Path]:
    """All programs, without what they share."""
    return [path for path in sorted((REPOSITORY / "workflow" / "scripts").glob("*.py")) if "__main__" in path.read_text(encoding="utf-8")]


def test_programs_explain_themselves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for script in programs():
        monkeypatch.setattr(sys, "argv", [str(script), "--help"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(script), run_name="__main__")
        assert stopped.value.code == 0
        name = "classlens" if script.stem == "command" else script.name
        assert capsys.readouterr().out.startswith(f"usage: {name}")
