"""Check a config before its run: data sets, models with a quick accuracy, results, time and disk space. Nothing is written to results."""

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cli
import estimate
from classlens.check import datasets, models, outputs
from classlens.check.text import entry
from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import read
from classlens.config.settings import Config
from classlens.errors import InputError, printable
from classlens.estimate import stages
from classlens.estimate.stages import Loading
from classlens.progress import log

SNAKEFILE = Path(__file__).resolve().parent.parent.parent / "Snakefile"
CALIBRATION = 2.0
"""Approximate seconds to calibrate the estimate of time and disk space."""
Counts = tuple[dict[str, int], dict[str, int], Loading]
"""Remaining jobs and all jobs by rule, and the seconds that programs take to load their libraries."""


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="config of the run (YAML)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results (default: results)")
    parser.set_defaults(threads=len(os.sched_getaffinity(0)))
    return parser


class Report:
    """A report that is printed as it is made. An error ends its section, not the report."""

    def __init__(self) -> None:
        self.errors = 0

    def section(self, title: str, lines: Iterable[str]) -> None:
        """Print a section; an InputError becomes its last line."""
        print(f"\n{title}", flush=True)
        try:
            for line in lines:
                print(line, flush=True)
        except InputError as error:
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
    alone = config.models[name].model_copy(update={"random_twin": not config.models[name].random_twin is False})
    try:
        return Plan(config.model_copy(update={"models": {name: alone}}), results)
    except InputError as error:
        return error


def counts(configfile: Path, results: Path) -> Counts:
    """Return the numbers of jobs from dry runs, and the times of loading libraries."""
    everything = estimate.jobs(configfile, SNAKEFILE, "--forceall")
    left = estimate.jobs(configfile, SNAKEFILE) if results.exists() else everything
    return left, everything, estimate.loading_times(1)


def effort(plan: Plan, counted: Future[Counts], run: Compute, args: Namespace) -> Iterator[str]:
    """Yield the time and the disk space that a run still needs.

    Raises:
        InputError: the run cannot be planned, a model cannot be built, or the disk is too small.
    """
    left, everything, libraries = counted.result()
    found = stages.stages(plan, estimate.calibrations(plan, run, CALIBRATION), left, everything)
    total, free = stages.totals(found, libraries, args.threads), estimate.free_bytes(args.results)
    yield entry("effort", estimate.conclusion(total, run, args.threads, free))
    stages.check_disk(total, free)


def _raise(error: InputError) -> Iterator[str]:
    raise error
    yield


def main(args: Namespace, _: cli.NoSettings) -> None:
    log.setLevel("WARNING")
    config = read(args.config)
    results = args.results / config.run
    whole, planned = plans(config, str(results))
    run = Compute.from_settings(**dict(config.compute), threads=args.threads)
    report = Report()
    print(f"{args.config}: run {config.run}, protocol {config.protocol}")
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(counts, args.config, results) if whole else None
        good = {name: plan for name, plan in planned.items() if isinstance(plan, Plan)}
        for dataset in {plan.models[name].dataset: plan.datasets[plan.models[name].dataset] for name, plan in good.items()}.values():
            report.section(f"Data set {dataset.name}", datasets.lines(dataset))
        for name, plan in planned.items():
            found = models.lines(plan, name, run) if isinstance(plan, Plan) else _raise(plan)
            report.section(f"Model {name}", found)
        if whole and counted:
            report.section(f"Results in {results}", outputs.lines(whole))
            if not report.errors:
                report.section("Time and disk space", effort(whole, counted, run, args))
    if report.errors:
        raise InputError(f"{report.errors} problems in {args.config}: correct them, and check again")


if __name__ == "__main__":
    cli.run(main, arguments())
