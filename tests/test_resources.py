"""What jobs take of the machine: threads, GPUs and memory are divided between those that run side by side."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, small_config

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
TARGETS = ("T1", "T4", "T5", "T6")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was noted of each program of a run with two cores, of which most rules give a job one."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")
    run = Run(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        run.complete(*TARGETS, "--configfile", run.configure(small_config()))
    return [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]


def test_every_pool_has_the_threads_of_its_job(programs: list[dict[str, Any]]) -> None:
    assert {"extract.py", "project.py", "probe.py", "relevance.py", "deletion.py", "identifiability.py"} <= {
        item["program"] for item in programs
    }
    assert Counter(item["threads"] for item in programs)[1] > 10
    for item in programs:
        assert set(item["pools"].values()) <= {item["threads"]}, item


def test_jobs_side_by_side_share_the_cores(programs: list[dict[str, Any]]) -> None:
    for item in programs:
        beside = [other for other in programs if other["start"] <= item["start"] < other["end"]]
        assert sum(max(other["pools"].values(), default=other["threads"]) for other in beside) <= 2, beside


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
