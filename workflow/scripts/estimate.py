"""Estimate the images, jobs, disk space and time of a run on this machine, from a calibration of about 20 seconds."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import cli
from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import read
from classlens.errors import InputError
from classlens.estimate import stages
from classlens.estimate.calibration import Calibration, calibrate
from classlens.estimate.stages import Loading
from classlens.models import loading
from classlens.models.hub import Hub
from classlens.progress import log

SECONDS = 20


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(configfile="config of the run", snakefile="the workflow's Snakefile")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser


def jobs(args: Namespace, *options: str) -> dict[str, int]:
    """Return the number of jobs per rule in a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(args.snakefile), "--configfile", str(args.configfile), "--cores", "1"]
    done = subprocess.run([*command, "--dry-run", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the run cannot be planned: {done.stderr.strip().splitlines()[-1]}")
    table = re.search(r"Job stats:\njob .*\n-+ .*\n([\s\S]*?)\ntotal", done.stdout + done.stderr)
    counts = dict(line.rsplit(maxsplit=1) for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}


def loading_times() -> Loading:
    """Measure the seconds that programs take to load their libraries from a warm disk cache."""

    def seconds(modules: str) -> float:
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
        return time.perf_counter() - start

    return Loading(seconds("torch, timm, pyarrow"), seconds("polars, pyarrow"), seconds("matplotlib.pyplot, polars, pyarrow"))


def calibrations(plan: Plan, run: Compute) -> dict[str, Calibration]:
    """Measure the cost of an image for each model. Models with the same architecture and size share one measurement."""
    config = plan.config
    hub = Hub(Path(config.hub.cache) if config.hub.cache else None, config.hub.offline)
    classes = {name: plan.datasets[plan.models[name].dataset].num_classes for name in config.models}
    keys = {name: json.dumps([model.arch.split(".")[0], model.kwargs, classes[name]]) for name, model in config.models.items()}
    found: dict[str, Calibration] = {}
    for name, model in config.models.items():
        if keys[name] in found:
            continue
        architecture = hub.architecture(model.arch)
        built = loading.build(architecture.name, {**architecture.kwargs, **model.kwargs, "num_classes": classes[name]}, classes[name])
        loading.accept(built, model.arch)
        with tempfile.TemporaryDirectory() as folder:
            found[keys[name]] = calibrate(
                built,
                arch=architecture.name,
                transform=model.transform.model_dump() if model.transform else None,
                dtype=config.hidden_states.dtype,
                top_k=config.projection.top_k,
                protocol=plan.protocol,
                compute=run,
                seconds=SECONDS / len(set(keys.values())),
                folder=Path(folder),
            )
    return {name: found[key] for name, key in keys.items()}


def main(args: Namespace, _: cli.NoSettings) -> None:
    log.setLevel("WARNING")  # hides the progress of the calibration
    config = read(args.configfile)
    plan = Plan(config, str(args.results / config.run))
    left, everything = jobs(args), jobs(args, "--forceall")
    cores = len(os.sched_getaffinity(0))
    run = Compute.from_settings(**dict(config.compute), threads=cores)
    libraries = loading_times()
    found = stages.stages(plan, calibrations(plan, run), left, everything)
    total = stages.totals(found, libraries, cores)
    free = shutil.disk_usage(args.results if args.results.exists() else ".").free
    print(stages.report(plan, found, libraries, cores))
    where = f"{cores} cores and {run.device.type}"
    disk = f"{total.bytes / 1e9:.2f} GB of disk at the end, at most {total.peak / 1e9:.2f} GB during the run, {free / 1e9:.1f} GB free"
    print(f"\n{total.jobs} jobs, about {total.seconds / 60:.0f} minutes on {where}; {disk}")
    stages.check_disk(total, free)


if __name__ == "__main__":
    cli.run(main, arguments())
