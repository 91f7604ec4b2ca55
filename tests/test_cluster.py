"""Runs on a Slurm cluster as users start them: all of the demo, shrunk, and what becomes of jobs, nodes and Snakemake that are killed.

What ran is counted by the programs themselves: whatever starts an interpreter with a program of the workflow leaves a line in a file, and
another when it gets to its end. No record of Snakemake or Slurm is believed for that. They also wait where a test wants to hit them.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, Run
from slurm_cluster import Cluster, kill, missing, until

from classlens.config.catalogue import FIGURES, TABLES

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

WITNESS = """
import atexit, json, os, sys, time

def note(event):
    line = {"event": event, "program": os.path.basename(sys.orig_argv[1]), "log": sys.orig_argv[sys.orig_argv.index("--log") + 1],
            "job": os.environ["SLURM_JOB_ID"], "node": os.environ["SLURMD_NODENAME"], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with open(os.environ["WITNESSED"], "a") as file:
        file.write(json.dumps(line) + chr(10))

if "snakemake" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
    # The plugin waits 10 s longer after each check in which no job has ended.
    RemoteExecutor.next_seconds_between_status_checks = property(lambda executor: 2, lambda executor, seconds: None)

if "--log" in sys.orig_argv and "/workflow/scripts/" in sys.orig_argv[1]:
    note("start")
    atexit.register(note, "end")
    while os.path.exists(os.environ["WITNESSED"] + ".hold"):
        time.sleep(0.1)
"""
ON_GPU = {
    "train.py",
    "twins.py",
    "extract.py",
    "project.py",
    "perturb.py",
    "relevance.py",
    "deletion.py",
    "faithfulness.py",
    "tuned_lens_fit.py",
    "tuned_lens.py",
    "attribution.py",
    "attribution_tokens.py",
    "ablation.py",
}
ALONE = {
    "shapes.py",
    "manifest.py",
    "model.py",
    "probe.py",
    "tokens.py",
    "sanity.py",
    "explorer_model.py",
    "explorer.py",
    "report_pages.py",
}
FEW = ["identifiability", "attention", "tokens"]
"""Analyses of the second model."""
PERTURBATIONS = [f"results/demo/perturbations/{model}/shapes.parquet" for model in ("cls", "pooled")]


def small_demo() -> dict[str, Any]:
    """The demo with everything that it does, for one model, on so little that a job takes not much more than its start."""
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    config["compute"] = {"device": "cpu"}  # the GPUs are pretended
    images = ("images_per_class", "train_images_per_class", "probe_images_per_class")
    config["datasets"]["shapes"] |= {"num_classes": 5, **dict.fromkeys(images, 2)}
    for model in config["models"].values():
        model["kwargs"] |= {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}
        model["training"] = {"epochs": 1}
    config["models"]["pooled"]["analyses"] = FEW
    return {**config, "deletion": {"steps": 3}}


@dataclass(frozen=True)
class Event:
    """A program's start or end, as it saw itself: in which job of Slurm, where, and with which GPUs."""

    event: str
    program: str
    log: str
    job: str
    node: str
    gpus: str | None

    @property
    def model(self) -> str:
        """Of a program that has one."""
        return Path(self.log).parent.name


class Login:
    """A folder on a cluster's login node in which Snakemake runs the shrunk demo.

    Args:
        cluster: where its jobs run.
        folder: working directory; its name may hold spaces.
    """

    def __init__(self, cluster: Cluster, folder: Path):
        self.cluster, self.run = cluster, Run(folder)
        self.config = self.run.configure(small_demo())
        self.witness, self.hold = folder / "witness", folder / "witness" / "events.hold"
        self.witness.mkdir()
        (self.witness / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")

    def start(self, *targets: str) -> subprocess.Popen[Any]:
        """Snakemake as users start it, but that it asks for the state of jobs more often, and waits less for their files."""
        command: list[str | Path] = [sys.executable, "-m", "snakemake", *targets]
        command += ["--snakefile", REPOSITORY / "Snakefile", "--directory", self.run.folder, "--configfile", self.config]
        command += ["--profile", REPOSITORY / "profiles" / "slurm", "--latency-wait", "5"]
        environment = os.environ | {"PYTHONPATH": str(self.witness), "WITNESSED": str(self.witness / "events")}
        with open(self.run.folder / "printed", "a", encoding="utf-8") as printed:
            return self.cluster.start(*command, env=environment, stdout=printed, stderr=subprocess.STDOUT)

    def ends_well(self, snakemake: subprocess.Popen[Any]) -> None:
        assert snakemake.wait() == 0, (self.run.folder / "printed").read_text(encoding="utf-8")

    def events(self, event: str, program: str = "") -> list[Event]:
        """What was witnessed: all starts or ends, of all programs or one."""
        file = self.witness / "events"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        events = [Event(**json.loads(line)) for line in lines]
        return [item for item in events if item.event == event and program in ("", item.program)]

    def counts(self, event: str) -> Counter[str]:
        """How often perturbations were started or ended, by model."""
        return Counter(item.model for item in self.events(event, "perturb.py"))

    def results(self) -> dict[str, bytes]:
        """Contents of all results, by path; what says how long or where they were made is none."""
        folder = self.run.folder / "results" / "demo"
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.startswith(("logs/", "benchmarks/", ".", "made.json"))}

    def without_perturbations(self, folder: Path) -> "Login":
        """A copy of a complete run that lacks the perturbations of both models."""
        shutil.copytree(self.run.folder, folder, ignore=shutil.ignore_patterns("witness"))
        shutil.rmtree(folder / "results" / "demo" / "perturbations")
        return Login(self.cluster, folder)

    def perturbing(self) -> tuple[subprocess.Popen[Any], dict[str, Event]]:
        """Snakemake that makes them again, and the programs of both models, by name, which have begun and wait for `release`."""
        self.hold.touch()
        snakemake = self.start(*PERTURBATIONS)
        until(lambda: len(self.events("start")) == 2 or snakemake.poll() is not None, "both perturbations", seconds=300)
        running = {item.model: item for item in self.events("start", "perturb.py")}
        assert set(running) == {"cls", "pooled"}
        return snakemake, running

    def release(self) -> None:
        self.hold.unlink()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm") / "etc") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Login:
    """The whole run, which nobody disturbed."""
    login = Login(cluster, tmp_path_factory.mktemp("whole") / "a folder")
    login.ends_well(login.start())
    return login


def test_everything_is_made_and_every_job_ran_once(whole: Login) -> None:
    results = whole.results()
    for figure in FIGURES:
        names = figure.files(["cls", *(["pooled"] if figure.analysis in FEW else [])])
        assert {f"figures/{name}.{suffix}" for name in names for suffix in ("csv", "svg", "png", "pdf")} <= set(results)
    assert {f"tables/{table.name}.csv" for table in TABLES} | {"reproduction.csv"} <= set(results)
    started, ended = ([item.log for item in whole.events(event)] for event in ("start", "end"))
    assert len(started) == len(set(started))
    assert sorted(started) == sorted(ended)
    planned = whole.run.complete("--dry-run", "--forceall", "--configfile", whole.config)
    assert f"total {len(started) + 1} " in " ".join(planned.split()) + " "  # and the rule `all`, which has no program
    assert "Nothing to be done" in whole.run.complete("--configfile", whole.config)


def test_jobs_that_run_a_model_have_a_gpu_and_others_none(whole: Login) -> None:
    starts = whole.events("start")
    assert {item.program for item in starts if item.gpus is not None} == ON_GPU
    assert all(len(item.gpus.split(",")) == 1 for item in starts if item.gpus is not None)
    assert not {item.program for item in starts if item.gpus is None} & ON_GPU


def test_light_jobs_go_through_the_queue_together(whole: Login) -> None:
    records = {record["id"]: record for record in whole.cluster.jobs()}
    programs = Counter(item.job for item in whole.events("start") if item.program not in ON_GPU | ALONE)
    assert programs.total() > 40
    assert len(programs) <= 7
    assert min(programs.values()) > 1
    for job in programs:
        assert records[job]["cores"] == "1"
        assert records[job]["memory"] in ("2G", "4G", "6G")  # of the largest: its programs take turns


def test_a_cancelled_job_is_tried_again_with_more_memory(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.without_perturbations(tmp_path / "a folder")
    snakemake, running = login.perturbing()
    login.cluster.run("scancel", running["cls"].job)
    login.release()
    login.ends_well(snakemake)
    assert login.counts("start") == {"cls": 2, "pooled": 1}
    assert login.counts("end") == {"cls": 1, "pooled": 1}
    memory = {record["id"]: record["memory"] for record in login.cluster.jobs()}
    assert [memory[item.job] for item in login.events("start", "perturb.py") if item.model == "cls"] == ["8G", "16G"]
    assert login.results() == whole.results()
    note_fault("Slurm: a job is cancelled (scancel)", "it is tried again, with more memory", again="1 job")


def test_a_killed_snakemake_goes_on_where_it_was(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.without_perturbations(tmp_path / "a folder")
    snakemake, running = login.perturbing()
    kill(snakemake)
    login.cluster.run("scancel", running["cls"].job)
    login.release()
    until(lambda: not login.cluster.jobs("--states=RUNNING,PENDING,COMPLETING"), "the end of what was submitted", seconds=300)
    assert login.counts("end") == {"pooled": 1}
    login.ends_well(login.start(*PERTURBATIONS))
    assert login.counts("start") == {"cls": 2, "pooled": 1}
    assert login.counts("end") == {"cls": 1, "pooled": 1}
    assert login.results() == whole.results()
    note_fault("Slurm: kill -9 of Snakemake", "jobs live on or are cancelled; the same command goes on", again="1 job that was cancelled")


def test_jobs_of_a_dead_node_go_on_elsewhere(whole: Login, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    login = whole.without_perturbations(tmp_path / "a folder")
    snakemake, running = login.perturbing()
    dead, alive = running["cls"].node, running["pooled"].node
    assert dead != alive
    login.cluster.cut_power(dead)
    login.release()
    login.ends_well(snakemake)
    login.cluster.boot(dead)
    assert login.counts("start") == {"cls": 2, "pooled": 1}
    assert login.counts("end") == {"cls": 1, "pooled": 1}
    assert {item.node for item in login.events("end")} == {alive}
    assert login.results() == whole.results()
    note_fault("Slurm: a node dies", "its job goes on on another node", again="1 job")
