"""The report of `classlens check`, which is printed as it is made."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import estimate
from classlens.check import datasets, models, outputs
from classlens.check.text import entry
from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import dataset_of
from classlens.config.settings import Config
from classlens.errors import InputError, printable
from classlens.estimate import stages
from classlens.estimate.stages import Loading

SNAKEFILE = Path(__file__).resolve().parent.parent.parent / "Snakefile"
CALIBRATION = 2.0
"""Approximate seconds to calibrate the estimate of time and disk space."""


@dataclass(frozen=True)
class Counts:
    """Numbers of jobs by rule, and the seconds that programs take to load their libraries.

    Attributes:
        explorer: remaining jobs of the explorer alone.
        left: remaining jobs of all results.
        everything: all jobs of all results.
        libraries: seconds to load libraries.
    """

    explorer: dict[str, int]
    left: dict[str, int]
    everything: dict[str, int]
    libraries: Loading


class Report:
    """A report that is printed as it is made. An error ends its section, not the report."""

    def __init__(self) -> None:
        self.errors = 0

    def section(self, title: str, lines: Iterable[str]) -> None:
        """Print a section; an InputError ends it."""
        print(f"\n{title}", flush=True)
        try:
            for line in lines:
                print(line, flush=True)
        except InputError as error:
            self.fail(error)

    def fail(self, error: InputError) -> None:
        """Print and count the problems of an error, each on one line."""
        for text in str(error).splitlines():
            self.errors += 1
            print(f"error: {printable(text)}", flush=True)


def plans(config: Config, results: str) -> tuple[Plan | None, dict[str, Plan | InputError]]:
    """Return the plan of a run, and the plan of each model. If the run cannot be planned, its models are planned one by one."""
    try:
        whole = Plan(config, results)
        return whole, dict.fromkeys(config.models, whole)
    except InputError:
        return None, {name: _plan_of_one(config, results, name) for name in config.models}


def _plan_of_one(config: Config, results: str, name: str) -> Plan | InputError:
    """Return the plan of a single model, without random twins of another one, or the error of planning it."""
    model = config.models[name]
    alone = model.model_copy(update={"random_twin": False}) if isinstance(model.random_twin, str) else model
    try:
        return Plan(config.model_copy(update={"models": {name: alone}}), results)
    except InputError as error:
        return error


def counts(configfile: Path, results: Path) -> Counts:
    """Return the numbers of jobs from dry runs, and the times of loading libraries."""
    everything = estimate.jobs(configfile, SNAKEFILE, "--forceall")
    left = estimate.jobs(configfile, SNAKEFILE) if results.exists() else everything
    return Counts(estimate.jobs(configfile, SNAKEFILE, "explorer"), left, everything, estimate.loading_times())


def effort(plan: Plan, counted: Future[Counts], run: Compute, args: Namespace) -> Iterator[str]:
    """Yield the time and the disk space that a run still needs.

    Raises:
        InputError: the run cannot be planned, a model cannot be built, or the disk is too small.
    """
    known = counted.result()
    costs = estimate.calibrations(plan, run, args.threads, CALIBRATION)
    found = stages.stages(plan, costs, known.left, known.everything)
    explorer = stages.totals(stages.stages(plan, costs, known.explorer, known.everything), known.libraries, args.threads)
    total, free = stages.totals(found, known.libraries, args.threads), estimate.free_bytes(args.results)
    yield entry("explorer", estimate.time_needed(explorer, run, args.threads))
    yield entry("everything", estimate.time_needed(total, run, args.threads))
    if advice := stages.advice(plan, found, known.libraries, args.threads):
        yield entry("", advice)
    yield entry("disk", estimate.disk_needed(total, free))
    stages.check_disk(total, free)


def show(args: Namespace, config: Config) -> int:
    """Print the report of a config, and return the number of problems.

    Args:
        args: arguments of `check.py`.
        config: the config.

    Raises:
        InputError: the device of the config does not exist.
    """
    run = Compute.from_settings(**dict(config.compute), threads=args.threads)
    whole, planned = plans(config, str(args.results / config.run))
    report = Report()
    print(f"{args.config}: run {config.run}, protocol {config.protocol}")
    if whole and whole.published:
        report.section("Results, drawn from published ones without images and models", outputs.lines(whole))
        return report.errors
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(counts, args.config, args.results / config.run) if whole else None
        used = {plan.models[name].dataset: plan for name, plan in planned.items() if isinstance(plan, Plan)}
        for name, plan in used.items():
            report.section(f"Data set {name}", datasets.lines(plan.datasets[name], config))
        for name, found in planned.items():
            report.section(
                f"Model {name}, data set {dataset_of(config.models[name], config)}",
                models.lines(found, name, run) if isinstance(found, Plan) else (),
            )
            if isinstance(found, InputError):
                report.fail(found)
        if whole and counted:
            report.section("Results", outputs.lines(whole))
            unknown = [entry("time", "not known, because of the errors above")]
            report.section("Effort", unknown if report.errors else effort(whole, counted, run, args))
    return report.errors
