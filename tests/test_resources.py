"""What jobs take of the machine: threads, GPUs and memory are divided between those that run side by side."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, small_config

from classlens import gpus

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
TARGETS = ("T1", "T2", "T3", "T4", "T5", "T6")


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
