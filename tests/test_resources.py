"""What jobs take of the machine: threads, GPUs and memory are divided between those that run side by side."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, Run, small_config
from polars.testing import assert_frame_equal

from classlens.compute import gpus
from classlens.storage import hidden_states, parquet

SCRIPTS = REPOSITORY / "workflow" / "scripts"
KEYS = ("method", "order", "draw", "condition", "image_id", "class_index", "token", "block", "head")

without_driver = pytest.mark.skipif(gpus.DRIVER.is_dir(), reason="the workflow sees this machine's own GPUs")

# Run by Python when it starts: a program notes, as it ends, when it ran, what it was given, and the pools of the libraries it has loaded.
WITNESS = """
import atexit, json, os, secrets, sys, time
start = time.time()

def note():
    if "--threads" not in sys.argv:
        return
    libraries = {
        "torch": lambda torch: torch.get_num_threads(),
        "polars": lambda polars: polars.thread_pool_size(),
        "pyarrow": lambda pyarrow: max(pyarrow.cpu_count(), pyarrow.io_thread_count()),
    }
    pools = {name: count(sys.modules[name]) for name, count in libraries.items() if name in sys.modules}
    threads = int(sys.argv[sys.argv.index("--threads") + 1])
    facts = {"program": os.path.basename(sys.argv[0]), "start": start, "end": time.time(), "threads": threads, "pools": pools}
    with open(os.path.join(os.path.dirname(__file__), secrets.token_hex(8) + ".json"), "w") as file:
        json.dump(facts, file)

atexit.register(note)
"""
ANALYSES = ("identifiability", "building", "perturbations", "probes", "relevance", "deletion")
TARGETS = [f"results/small/{name}/m/d.parquet" for name in ANALYSES]


@dataclass(frozen=True)
class Finished:
    """A run, and what was noted of each of its programs."""

    run: Run
    programs: list[dict[str, Any]]


def witnessed(folder: Path, *arguments: str) -> Finished:
    """A run with two cores, of which most rules give a job one."""
    (folder / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")
    run = Run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        run.complete(*arguments, "--configfile", run.configure(small_config()))
    return Finished(run, [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return witnessed(tmp_path_factory.mktemp("finished"), *TARGETS)


def test_every_pool_has_the_threads_of_its_job(finished: Finished) -> None:
    programs = finished.programs
    assert {f"{name}.py" for name in ("extract", "project", "perturb", "probe", "relevance", "deletion", "identifiability")} <= {
        item["program"] for item in programs
    }
    assert Counter(item["threads"] for item in programs)[1] > 10
    for item in programs:
        assert set(item["pools"].values()) <= {item["threads"]}, item


def test_jobs_side_by_side_share_the_cores(finished: Finished) -> None:
    for item in finished.programs:
        beside = running_at(item["start"], finished.programs)
        assert sum(max(other["pools"].values(), default=other["threads"]) for other in beside) <= 2, beside


def running_at(moment: float, programs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in programs if item["start"] <= moment < item["end"]]


def planned_threads(run: Run, *arguments: str) -> dict[str, list[int]]:
    """Threads of each job of a run from the beginning, by program."""
    output = run.complete("--dry-run", "--forceall", "--printshellcmds", *arguments)
    found: dict[str, list[int]] = {}
    for program, threads in re.findall(r"/(\w+)\.py --log \S+ --threads (\d+)", output):
        found.setdefault(program, []).append(int(threads))
    return found


@pytest.mark.parametrize("cores", [2, 3, 16])
def test_two_jobs_that_run_a_model_fit_the_cores(tmp_path: Path, cores: int) -> None:
    run = Run(tmp_path)
    found = planned_threads(run, "--configfile", str(run.configure(small_config())), "--cores", str(cores))
    for program in ("extract", "project", "perturb", "relevance", "deletion", "probe"):
        assert sum(sorted(found[program])[-2:]) <= cores, program
    assert max(max(threads) for threads in found.values()) <= cores


@pytest.fixture
def gpus_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Gives the machine so many GPUs, as far as the workflow can see when it plans."""

    def give(count: int) -> None:
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text("#!/bin/sh\n" + "".join(f"echo 'GPU {index}: none'\n" for index in range(count)), encoding="utf-8")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return give


@without_driver
@pytest.mark.parametrize(
    ("gpus", "compute", "arguments", "threads"),
    [
        (1, {}, [], 8),
        (3, {}, [], 4),
        (3, {"jobs_per_gpu": 2}, [], 2),
        (3, {"device": "cuda:1"}, [], 8),
        (3, {"device": "cpu"}, [], 6),
        (3, {}, ["--resources", "gpu=1"], 8),
    ],
)
def test_cores_are_divided_between_as_many_jobs_as_gpus_allow(
    tmp_path: Path, gpus_of: Callable[[int], None], gpus: int, compute: dict[str, Any], arguments: list[str], threads: int
) -> None:
    gpus_of(gpus)
    run = Run(tmp_path / "run")
    config = run.configure(small_config(compute=compute, hidden_states={"shard_size": 1}))
    found = planned_threads(run, "--configfile", str(config), "--cores", "12", *arguments)
    assert set(found["extract"]) == set(found["project"]) == {threads}


@without_driver
def test_jobs_take_turns_where_there_is_one_gpu(tmp_path: Path, gpus_of: Callable[[int], None]) -> None:
    gpus_of(1)
    shards = [f"results/small/projections/m/d/validation/0000{shard}.parquet" for shard in (0, 1)]
    programs = witnessed(tmp_path, *shards, "--cores", "4", "--set-threads", "extract_with_memory_keys=1", "project=1").programs
    of_gpu = [item for item in programs if item["program"] in ("extract.py", "project.py")]
    assert len(of_gpu) == 4
    for item in of_gpu:
        assert running_at(item["start"], of_gpu) == [item]


# A program of a run, started again with a GPU whose memory is too small for more than three images.
TOO_SMALL = """
import runpy, sys
import torch
from timm.layers import PatchEmbed
from classlens.lens import Lens

def failing(forward):
    def limited(self, images):
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, images)
    return limited

patched = Lens if "project" in sys.argv[1] else PatchEmbed
patched.forward = failing(patched.forward)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TABLES = {
    "extract": ["hidden_states/m/d/validation/00000", "memory_keys/m/d/validation/00000"],
    "project": ["projections/m/d/validation/00001", "class_logits/m/d/validation/00001"],
    "perturb": ["perturbations/m/d", "perturbations/m/d_accuracy"],
    "relevance": ["relevance/m/d", "relevance/m/d_heads"],
    "deletion": ["deletion/m/d_images"],
}


@pytest.mark.parametrize("program", TABLES)
def test_programs_go_on_with_smaller_batches_and_the_same_results(finished: Finished, tmp_path: Path, program: str) -> None:
    run = finished.run
    again = Run(shutil.copytree(run.folder, tmp_path / "again"))
    (tmp_path / "too_small.py").write_text(TOO_SMALL, encoding="utf-8")
    output = run.complete("--dry-run", "--forceall", "--printshellcmds", "--configfile", run.folder / "my config.yaml")
    written = [f"results/small/{name}.parquet" for name in TABLES[program]]
    command = re.search(rf"\$CLASSLENS_PYTHON\" (\S+/{program}\.py --log (\S+) .*{written[0]}.*)", output)
    assert command
    for path in written:
        (again.folder / path).unlink()
    line = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'too_small.py'))} {command[1]}"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "CLASSLENS_SCRIPTS": str(SCRIPTS)}
    subprocess.run(line, shell=True, check=True, cwd=again.folder, env=environment)
    assert "images at once: continuing with 3" in (again.folder / command[2]).read_text(encoding="utf-8")
    for path in written:
        expected, found = (table_of(folder / path, in_order=program in ("extract", "project")) for folder in (run.folder, again.folder))
        assert_frame_equal(found, expected, rel_tol=1e-3, abs_tol=1e-5)
        assert pq.read_schema(again.folder / path).metadata == pq.read_schema(run.folder / path).metadata


def table_of(path: Path, in_order: bool) -> pl.DataFrame:
    """The rows of a table, sorted by what they are about unless their order does not depend on batches; hidden states as numbers."""
    table = parquet.read_table(path)
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        binary = isinstance(column.type, pa.FixedSizeBinaryType)
        columns[name] = hidden_states.states_of(table, name) if binary else pl.Series(column)
    frame = pl.DataFrame(columns)
    return (
        frame if in_order else frame.cast({pl.Categorical: pl.String, pl.Enum: pl.String}).sort([name for name in KEYS if name in columns])
    )
