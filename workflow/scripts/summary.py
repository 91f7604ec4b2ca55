"""Print the summary of a successful run: what it found, its results and their paths, its duration, and what it left out."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import polars as pl

import cli
from classlens.config.steps import SummaryStep
from classlens.errors import printable
from classlens.models.card import Card
from classlens.report import run_facts
from classlens.report.findings import findings

STAGES = 5
"""Number of longest stages in the summary."""


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, SummaryStep).one(results="folder of the run's results")
    return parser.maybe(evolution="numbers of F2, if this run has made them", rates="table T1, if this run has made it")


def found(args: Namespace) -> Iterator[str]:
    """Yield a sentence per model about where its class information arises."""
    if args.evolution:
        evolution, rates = (path and pl.read_csv(path, infer_schema_length=None) for path in (args.evolution, args.rates))
        depths = {name: Card.read(args.results / "models" / name / "model.json").depth for name in evolution["model"].unique()}
        yield from (f"{printable(finding.label)}: {finding.text}" for finding in findings(evolution, rates, depths))


def made(results: Path, settings: SummaryStep) -> Iterator[str]:
    """Yield lines with the existing figures and tables, in the order of the paper."""
    shown = {
        f"Figures ({', '.join(settings.formats)}; numbers as csv)": [f"figures/{name}.{settings.formats[0]}" for name in settings.figures],
        "Tables": [f"tables/{name}.csv" for name in settings.tables],
    }
    paths = {title: [results / name for name in names] for title, names in shown.items()}
    there = {title: [path for path in wanted if path.is_file()] for title, wanted in paths.items()}
    if there == paths:
        yield f"The run {results.name} is complete ({run_facts.duration(settings.seconds)})."
    else:
        yield f"Done ({run_facts.duration(settings.seconds)}). What there is of the run {results.name}:"
    for title, files in there.items():
        yield from [f"{title}:", *(f"  {path}" for path in files)] if files else []
    page = results / "explorer" / "index.html"
    if page.is_file():
        yield f"Explorer: {page}"


def accuracies(results: Path, settings: SummaryStep) -> Iterator[str]:
    """Yield a line with the accuracy of each model that has predictions, for a run without findings, which tell it too."""
    rates = {name: run_facts.accuracy(results, name) for name in settings.models}
    models = [f"{name} {rate}" for name, rate in rates.items() if rate]
    if models:
        yield f"Accuracy: {', '.join(models)}"


def times(results: Path) -> Iterator[str]:
    """Yield a line with the longest stages."""
    stages = [f"{stage.name} {run_facts.duration(stage.seconds)}" for stage in run_facts.stages(results / "benchmarks")[:STAGES]]
    if stages:
        yield f"Longest stages (sums over their jobs): {', '.join(stages)}"


def left_out(results: Path, settings: SummaryStep) -> Iterator[str]:
    """Yield lines with unused inputs and missing results, with reasons."""
    manifests = sorted(results.glob("data/*/*/manifest.parquet"))
    paths = [results / "models" / name / "model.json" for name in settings.models]
    models = [(path.parent.name, Card.read(path)) for path in paths if path.is_file()]
    for line in run_facts.left_out(manifests, models, settings.without_masks):
        yield f"Left out: {line}"


def warnings(path: Path) -> Iterator[str]:
    """Yield the warnings of the run."""
    for warning in run_facts.warnings(path):
        yield f"Warning: {warning['about']}: {warning['message']}"


def reproduced(path: Path) -> Iterator[str]:
    """Yield lines with the number of reproduced values and with each value outside its tolerance."""
    rows = [row for row in run_facts.comparison(path) if row["status"] != "not run"]
    if rows:
        yield f"Reproduction ({path}): {sum(row['status'] == 'pass' for row in rows)} of {len(rows)} numbers within tolerance"
    for row in rows:
        if row["status"] == "fail":
            yield f"  {row['quantity']} of {row['model']}: {row['ours']} instead of {row['expected']} (tolerance {row['tolerance']})"


def main(args: Namespace, settings: SummaryStep) -> None:
    print()
    for line in (
        *(list(found(args)) or accuracies(args.results, settings)),
        *made(args.results, settings),
        *times(args.results),
        *left_out(args.results, settings),
        *reproduced(args.results / "reproduction.csv"),
    ):
        print(line)
    if (args.results / "report").is_dir():
        print(f"Report: snakemake --report report.zip {settings.arguments}".rstrip())
    for line in warnings(args.results / "warnings.json"):
        print(line)


if __name__ == "__main__":
    cli.run(main, arguments())
