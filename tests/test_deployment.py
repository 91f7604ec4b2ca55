"""Jobs in an Apptainer image and in a conda environment: what Snakemake starts. Stand-ins for both note how they are called."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run, copy_of_checkout, small_config

APPTAINER = """#!/bin/sh
[ "$1" = --version ] && { echo apptainer version 1.3.0; exit; }
echo "$*" >> {notes}
while [ "$1" != bash ]; do shift; done  # options, and the image
PATH={python}:$PATH "$@"
"""
CONDA = """#!/bin/sh
case $1 in
--version) echo conda 24.11.1 ;;
info) echo {info} ;;
config) echo {config} ;;
env)
    echo "$*" >> {notes}
    while [ "$1" != --file ]; do shift; done
    cp "$2" {home}/asked.yaml
    mkdir -p "$4/bin" ;;
esac
"""
ACTIVATE = "PATH={python}:$PATH\n"
TARGET = "results/small/data/d/validation/manifest.parquet"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run on a machine whose `python` is found only in an image or environment, with stand-ins for both."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    said = {
        "notes": home / "notes.txt",
        "python": Path(sys.executable).parent,
        "home": home,
        "info": shlex.quote(json.dumps({"conda_prefix": str(home), "platform": "linux-64"})),
        "config": shlex.quote(json.dumps({"get": {"channel_priority": "strict"}})),
    }
    for name, text in {"apptainer": APPTAINER, "conda": CONDA, "activate": ACTIVATE}.items():
        for key, value in said.items():
            text = text.replace(f"{{{key}}}", str(value))
        (home / "bin" / name).write_text(text, encoding="utf-8")
        (home / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.defpath}")
    made = Run(tmp_path / "folder", copy_of_checkout(tmp_path / "checkout"))
    made.configure(small_config(), "small.yaml")
    return made


def notes(run: Run) -> list[str]:
    """The calls of the stand-ins."""
    return (run.folder.parent / "home" / "notes.txt").read_text(encoding="utf-8").splitlines()


def arguments(run: Run, method: str) -> list[str]:
    return [TARGET, "--configfile", str(run.folder / "small.yaml"), "--software-deployment-method", method]


def test_jobs_run_in_the_apptainer_image(run: Run) -> None:
    image = run.checkout / "envs" / "classlens.sif"
    image.touch()
    run.complete(*arguments(run, "apptainer"), "--apptainer-args=--nv --bind /data")
    calls = notes(run)
    assert [call.partition('"$CLASSLENS_SCRIPTS"/')[2].split()[0] for call in calls] == ["shapes.py", "manifest.py"]
    assert all("--nv --bind /data" in call and f" {image} bash -c " in call for call in calls)


def test_an_image_that_is_not_there_is_named(run: Run) -> None:
    done = run.snakemake(*arguments(run, "apptainer"))
    assert done.returncode == 1
    assert "envs/classlens.sif: make it with apptainer build envs/classlens.sif envs/classlens.def" in done.stderr


def test_jobs_run_in_the_conda_environment_of_the_lock(run: Run) -> None:
    said = run.complete(*arguments(run, "conda"))
    assert said.count("Activating conda environment") == 2
    assert len(notes(run)) == 1
    asked = run.folder.parent / "home" / "asked.yaml"
    assert asked.read_bytes() == (REPOSITORY / "envs" / "classlens.yaml").read_bytes()
