"""Estimate the images, jobs, disk space and time of a run on this machine, from a calibration of about 20 seconds."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import cli
from classlens.compute.device import Compute
from classlens.config.catalogue import FIGURES
from classlens.config.plan import Plan
from classlens.config.reading import read
from classlens.errors import InputError
from classlens.estimate import stages
from classlens.estimate.calibration import Calibration, calibrate
from classlens.estimate.stages import Loading, Totals
from classlens.models import loading
from classlens.models.hub import Hub
from classlens.progress import log
from classlens.report.run_facts import duration

SECONDS = 20


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(configfile="config of the run", snakefile="the workflow's Snakefile")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser


def jobs(configfile: Path, snakefile: Path, *options: str) -> dict[str, int]:
    """Return the number of jobs per rule in a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile", str(configfile), "--cores", "1"]
    done = subprocess.run([*command, "--dry-run", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the run cannot be planned: {done.stderr.strip().splitlines()[-1]}")
    table = re.search(r"Job stats:\njob .*\n-+ .*\n([\s\S]*?)\ntotal", done.stdout + done.stderr)
    counts = dict(line.rsplit(maxsplit=1) for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}


def loading_times() -> Loading:
    """Measure the seconds of CPU time that programs take to load their libraries, from a typical program of each kind."""

    def seconds(script: str, *name: str) -> float:
        before = _time_of_children()
        subprocess.run([sys.executable, Path(__file__).with_name(script), *name, "--help"], check=True, stdout=subprocess.DEVNULL)
        return _time_of_children() - before

    return Loading(seconds("extract.py"), seconds("building.py"), seconds("figure.py", FIGURES[0].name))


def _time_of_children() -> float:
    """Return the CPU time of all ended processes that this process has started, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def calibrations(plan: Plan, run: Compute, cores: int, total: float = SECONDS) -> dict[str, Calibration]:
    """Measure the cost of an image for each model. Models with the same architecture and size share one measurement.

    Args:
        plan: plan of the run.
        run: device and settings of forward passes.
        cores: number of cores that the run may use.
        total: approximate seconds for all models.
    """
    config = plan.config
    hub = Hub(Path(config.hub.cache) if config.hub.cache else None, config.hub.offline)
    classes = {name: plan.datasets[plan.models[name].dataset].num_classes for name in config.models}
    models = {name: plan.models[name].settings for name in config.models}
    keys = {name: json.dumps([str(model.arch).split(".")[0], model.kwargs, classes[name]]) for name, model in models.items()}
    found: dict[str, Calibration] = {}
    for name, model in models.items():
        if keys[name] in found:
            continue
        architecture = hub.architecture(str(model.arch))
        built = loading.build(architecture.name, {**architecture.kwargs, **model.kwargs, "num_classes": classes[name]}, classes[name])
        loading.accept(built, architecture.name)
        with tempfile.TemporaryDirectory() as folder:
            found[keys[name]] = calibrate(
                built,
                arch=architecture.name,
                transform=model.transform.model_dump() if model.transform else None,
                dtype=config.hidden_states.dtype,
                top_k=config.projection.top_k,
                protocol=plan.protocol,
                compute=run,
                cores=cores,
                seconds=total / len(set(keys.values())),
                folder=Path(folder),
            )
    return {name: found[key] for name, key in keys.items()}


def time_needed(total: Totals, run: Compute, cores: int) -> str:
    """Return the number of jobs and the time of a run."""
    return f"{total.jobs} jobs, about {duration(total.seconds)} on {cores} cores and {run.device.type}"


def disk_needed(total: Totals, free: int) -> str:
    """Return the disk space of a run."""
    return f"{total.bytes / 1e9:.2f} GB at the end, at most {total.peak / 1e9:.2f} GB during the run, {free / 1e9:.1f} GB free"


def free_bytes(results: Path) -> int:
    """Return the free bytes on the disk of the results."""
    return shutil.disk_usage(results if results.exists() else ".").free


def main(args: Namespace, _: cli.NoSettings) -> None:
    log.setLevel("WARNING")  # hides the progress of the calibration
    config = read(args.configfile)
    plan = Plan(config, str(args.results / config.run))
    left = jobs(args.configfile, args.snakefile)
    if not left:
        print("0 jobs: everything is done")
        return
    everything = jobs(args.configfile, args.snakefile, "--forceall")
    cores = len(os.sched_getaffinity(0))
    run = Compute.from_settings(**dict(config.compute), threads=cores)
    libraries = loading_times()
    found = stages.stages(plan, calibrations(plan, run, cores), left, everything)
    total, free = stages.totals(found, libraries, cores), free_bytes(args.results)
    print(stages.report(plan, found, libraries, cores))
    print(f"\n{time_needed(total, run, cores)}; disk: {disk_needed(total, free)}")
    if advice := stages.advice(plan, found, libraries, cores):
        print(advice)
    stages.check_disk(total, free)


if __name__ == "__main__":
    cli.run(main, arguments())
