"""Snakemake on a cluster's login node, as users start it.

What ran is counted by the programs themselves: whatever starts an interpreter with a program of the workflow leaves a line in a file, and
another when it gets to its end. No record of Snakemake or of the cluster is believed for that. They also wait where a test wants to hit
them.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, Run
from namespaces import Namespaces, until

WITNESS = """
import atexit, json, os, sys, time

def note(event):
    line = {"event": event, "program": os.path.basename(sys.orig_argv[1]), "log": sys.orig_argv[sys.orig_argv.index("--log") + 1],
            "job": os.environ.get("SLURM_JOB_ID") or os.environ["JOB_ID"], "node": os.environ.get("SLURMD_NODENAME"),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with open(os.environ["WITNESSED"], "a") as file:
        file.write(json.dumps(line) + chr(10))

if "snakemake" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
    # The plugin of Slurm waits 10 s longer after each check in which no job has ended.
    RemoteExecutor.next_seconds_between_status_checks = property(lambda executor: 2, lambda executor, seconds: None)

if "--log" in sys.orig_argv and "/workflow/scripts/" in sys.orig_argv[1]:
    note("start")
    atexit.register(note, "end")
    while os.path.exists(os.environ["WITNESSED"] + ".hold"):
        time.sleep(0.1)
"""


@dataclass(frozen=True)
class Event:
    """A program's start or end, as it saw itself: in which job of the cluster, on which node of Slurm, and with which GPUs."""

    event: str
    program: str
    log: str
    job: str
    node: str | None
    gpus: str | None

    @property
    def model(self) -> str:
        """Of a program that has one."""
        return Path(self.log).parent.name


class Login:
    """A folder on a cluster's login node in which Snakemake runs.

    Args:
        cluster: where its jobs run.
        folder: working directory; its name may hold spaces.
        config: of the run.
        profiles: folders of profiles; later ones override earlier ones.
    """

    def __init__(self, cluster: Namespaces, folder: Path, config: dict[str, Any], profiles: list[Path]):
        self.cluster, self.run, self.settings, self.profiles = cluster, Run(folder), config, profiles
        self.config = self.run.configure(config)
        self.results_folder = folder / "results" / config["run"]
        self.witness, self.hold = folder / "witness", folder / "witness" / "events.hold"
        self.witness.mkdir()
        (self.witness / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")

    def copy_without(self, folder: Path, *missing: str) -> "Login":
        """A copy of a complete run that lacks these folders of its results."""
        shutil.copytree(self.run.folder, folder, ignore=shutil.ignore_patterns("witness", "printed"))
        for name in missing:
            shutil.rmtree(folder / "results" / self.settings["run"] / name)
        return Login(self.cluster, folder, self.settings, self.profiles)

    def start(self, *targets: str) -> subprocess.Popen[Any]:
        """Snakemake as users start it, but that it asks for the state of jobs more often, and waits less for their files."""
        command: list[str | Path] = [sys.executable, "-m", "snakemake", *targets]
        command += ["--snakefile", REPOSITORY / "Snakefile", "--directory", self.run.folder, "--configfile", self.config]
        command += [part for profile in self.profiles for part in ("--profile", profile)]
        command += ["--latency-wait", "5"]
        environment = os.environ | {"PYTHONPATH": str(self.witness), "WITNESSED": str(self.witness / "events")}
        with open(self.run.folder / "printed", "a", encoding="utf-8") as printed:
            return self.cluster.start(*command, env=environment, stdout=printed, stderr=subprocess.STDOUT)

    def printed(self) -> str:
        """Return what Snakemake has printed."""
        return (self.run.folder / "printed").read_text(encoding="utf-8")

    def ends_well(self, snakemake: subprocess.Popen[Any]) -> None:
        assert snakemake.wait() == 0, self.printed()

    def events(self, event: str, program: str = "") -> list[Event]:
        """Return what was witnessed: all starts or ends, of all programs or one."""
        file = self.witness / "events"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        events = [Event(**json.loads(line)) for line in lines]
        return [item for item in events if item.event == event and program in ("", item.program)]

    def counts(self, event: str, program: str) -> Counter[str]:
        """How often a program was started or ended, by model."""
        return Counter(item.model for item in self.events(event, program))

    def results(self) -> dict[str, bytes]:
        """Contents of all results, by path; what says how long or where they were made is none."""
        files = {str(path.relative_to(self.results_folder)): path for path in self.results_folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.startswith(("logs/", "benchmarks/", ".", "made.json"))}

    def held(self, count: int, *targets: str) -> tuple[subprocess.Popen[Any], list[Event]]:
        """Snakemake that makes targets, and the starts of `count` programs, which have begun and wait for `release`."""
        self.hold.touch()
        snakemake = self.start(*targets)
        until(lambda: len(self.events("start")) == count or snakemake.poll() is not None, f"{count} programs", seconds=300)
        assert snakemake.poll() is None, self.printed()
        return snakemake, self.events("start")

    def release(self) -> None:
        self.hold.unlink()
