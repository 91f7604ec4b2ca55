"""Say what a run will take on this machine, before it starts: images, jobs, disk and time, from a calibration of about 20 seconds."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from classlens import cli, compute, estimate, models
from classlens.calibration import Calibration, calibrate
from classlens.compute import Compute
from classlens.config import read
from classlens.errors import InputError
from classlens.estimate import Loading
from classlens.hub import Hub
from classlens.plan import Plan

SECONDS = 20


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--configfile", type=Path, required=True, help="config of the run")
    parser.add_argument("--snakefile", type=Path, required=True, help="the workflow's Snakefile")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser.parse_args()


def jobs(args: argparse.Namespace, *options: str) -> dict[str, int]:
    """Jobs of each rule in a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(args.snakefile), "--configfile", str(args.configfile), "--cores", "1"]
    done = subprocess.run([*command, "--dry-run", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the run cannot be planned: {done.stderr.strip().splitlines()[-1]}")
    table = re.search(r"Job stats:\njob .*\n-+ .*\n([\s\S]*?)\ntotal", done.stdout + done.stderr)
    counts = dict(line.rsplit(maxsplit=1) for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}


def loading() -> Loading:
    """Seconds that a program takes to load its libraries, measured the second time, when the disk has been read."""

    def seconds(modules: str) -> float:
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
        return time.perf_counter() - start

    return Loading(seconds("torch, timm, pyarrow"), seconds("polars, pyarrow"), seconds("matplotlib.pyplot, polars, pyarrow"))


def calibrations(plan: Plan, run: Compute) -> dict[str, Calibration]:
    """What an image costs in each model; models of one architecture and size are measured once."""
    config = plan.config
    hub = Hub(Path(config["hub"]["cache"]) if config["hub"]["cache"] else None, config["hub"]["offline"])
    settings = {name: (model, plan.datasets[model["dataset"]].num_classes) for name, model in config["models"].items()}
    keys = {name: json.dumps([model["arch"].split(".")[0], model["kwargs"], classes]) for name, (model, classes) in settings.items()}
    found: dict[str, Calibration] = {}
    for name, (model, classes) in settings.items():
        if keys[name] in found:
            continue
        architecture = hub.architecture(model["arch"])
        built = models.build(architecture.name, {**architecture.kwargs, **model["kwargs"], "num_classes": classes}, classes)
        models.accept(built, model["arch"])
        stored = config["hidden_states"]["dtype"], config["projection"]["top_k"]
        seconds = SECONDS / len(set(keys.values()))
        with tempfile.TemporaryDirectory() as folder:
            found[keys[name]] = calibrate(built, architecture.name, model["transform"], *stored, plan.protocol, run, seconds, Path(folder))
    return {name: found[key] for name, key in keys.items()}


def main(args: argparse.Namespace) -> None:
    cli.log.setLevel("WARNING")  # the calibration's own progress is nothing to people
    config = read(args.configfile, args.snakefile.parent / "config" / "schema.yaml")
    plan = Plan(config, str(args.results / config["run"]))
    left, everything = jobs(args), jobs(args, "--forceall")
    cores = len(os.sched_getaffinity(0))
    run = compute.from_settings(config["compute"], cores)
    libraries = loading()
    found = estimate.stages(plan, calibrations(plan, run), left, everything)
    total = estimate.totals(found, libraries, cores)
    free = shutil.disk_usage(args.results if args.results.exists() else ".").free
    print(estimate.report(plan, found, libraries, cores))
    where = f"{cores} cores and {run.device.type}"
    disk = f"{total.bytes / 1e9:.2f} GB of disk at the end, at most {total.peak / 1e9:.2f} GB on the way, {free / 1e9:.1f} GB free"
    print(f"\n{total.jobs} jobs, about {total.seconds / 60:.0f} minutes on {where}; {disk}")
    estimate.check_disk(total, free)


if __name__ == "__main__":
    cli.run(main, arguments())
