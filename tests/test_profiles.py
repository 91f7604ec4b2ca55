"""What must hold for clusters, where none is at hand (tests/test_cluster.py makes one): their profile, and their file systems."""

import errno
import fcntl
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, Run, small_config

from classlens.config import run_folder
from classlens.config.catalogue import FIGURES, TABLES
from classlens.config.reading import resolve

SLURM = REPOSITORY / "profiles" / "slurm"


def test_every_figure_and_table_shares_jobs() -> None:
    groups = yaml.safe_load((SLURM / "config.yaml").read_text(encoding="utf-8"))["groups"]
    shown = {f"figure_{figure.name}" for figure in FIGURES} | {f"table_{table.name}" for table in TABLES} | {"reproduction"}
    assert {rule for rule, group in groups.items() if group == "shown"} == shown


def test_every_rule_that_runs_a_model_has_a_gpu_and_more_cores() -> None:
    lists = yaml.safe_load((SLURM / "config.yaml").read_text(encoding="utf-8"))
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "rules").glob("*.smk")]
    rules = [rule for text in texts for rule in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]]
    run_a_model = {rule.split(":")[0] for rule in rules if "ON_DEVICE_COMMAND" in rule}
    assert len(run_a_model) > 10
    for rule in run_a_model:
        assert (lists["set-resources"][rule], lists["set-threads"][rule]) == ({"gpu": 1}, 8)


def test_steps_of_several_models_and_data_sets_share_jobs(tmp_path: Path) -> None:
    small = small_config()
    data, model = small["datasets"]["d"], small["models"]["m"]
    config = {**small, "datasets": {"d": data, "e": data}, "models": {"m": {**model, "dataset": "d"}, "n": {**model, "dataset": "e"}}}
    run = Run(tmp_path / "work")
    planned = run.complete("--dry-run", "--profile", SLURM, "--configfile", run.configure(config))
    for group in ("states", "measures", "scores", "shown"):
        assert f"Group job {group} " in planned


def test_snakemake_can_read_the_grid_engine_profile() -> None:
    settings = yaml.safe_load((SLURM.parent / "sge" / "config.yaml").read_text(encoding="utf-8"))
    # Snakemake asks whether each value is the name of a file, which fails if a part of the name is too long.
    assert not [name for name, value in settings.items() for part in str(value).split("/") if len(part.encode()) > 255]


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    run_folder.claim(tmp_path / "results", resolve(small_config(run="mine")))
    assert "nothing keeps a second run from writing there" in capsys.readouterr().err
