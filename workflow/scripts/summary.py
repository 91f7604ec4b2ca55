"""Sum up a run once it has ended well: what it made and where, how long it took, and what it left out."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from classlens import cli, run_facts
from classlens.card import Card

STAGES = 5
"""How many of the longest stages are named."""


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--results", type=Path, required=True, help="folder of the run's results")
    parser.add_argument("--seconds", type=float, required=True, help="how long the run took")
    parser.add_argument("--figures", nargs="*", default=[], help="names of all figures")
    parser.add_argument("--formats", nargs="+", default=["svg"], help="what each is written as")
    parser.add_argument("--tables", nargs="*", default=[], help="names of all tables")
    parser.add_argument("--models", nargs="*", default=[], help="names of the models that figures and tables name")
    parser.add_argument("--without-masks", nargs="*", default=[], help="what was asked for and is not made for lack of masks")
    parser.add_argument("--arguments", default="", help="what to add to commands that are about this run")
    return parser.parse_args()


def made(args: argparse.Namespace) -> Iterator[str]:
    """What there is of the figures and tables, in the order of the paper."""
    shown = {
        f"Figures ({', '.join(args.formats)}; numbers as csv)": [f"figures/{name}.{args.formats[0]}" for name in args.figures],
        "Tables": [f"tables/{name}.csv" for name in args.tables],
    }
    paths = {title: [args.results / name for name in names] for title, names in shown.items()}
    there = {title: [path for path in found if path.is_file()] for title, found in paths.items()}
    if there == paths:
        yield f"The run {args.results.name} is complete ({run_facts.minutes(args.seconds)})."
    else:
        yield f"Done ({run_facts.minutes(args.seconds)}). What there is of the run {args.results.name}:"
    for title, found in there.items():
        yield from [f"{title}:", *(f"  {path}" for path in found)] if found else []
    page = args.results / "explorer" / "index.html"
    if page.is_file():
        yield f"Explorer: {page}"


def times(results: Path) -> Iterator[str]:
    """The longest stages."""
    stages = [f"{stage.name} {run_facts.minutes(stage.seconds)}" for stage in run_facts.stages(results / "benchmarks")[:STAGES]]
    if stages:
        yield f"Longest stages (sums over their jobs): {', '.join(stages)}"


def left_out(args: argparse.Namespace) -> Iterator[str]:
    """What cannot be used or made, and why."""
    manifests = sorted(args.results.glob("data/*/*/manifest.parquet"))
    paths = [args.results / "models" / name / "model.json" for name in args.models]
    models = [(path.parent.name, Card.read(path)) for path in paths if path.is_file()]
    for line in run_facts.left_out(manifests, models, args.without_masks):
        yield f"Left out: {line}"


def warnings(path: Path) -> Iterator[str]:
    """Signs that the run measured something else than was meant."""
    for warning in run_facts.warnings(path):
        yield f"Warning: {warning['about']}: {warning['message']}"


def reproduced(path: Path) -> Iterator[str]:
    """How many of the expected numbers were reproduced, and which were not."""
    rows = [row for row in run_facts.comparison(path) if row["status"] != "not run"]
    if rows:
        yield f"Reproduction ({path}): {sum(row['status'] == 'pass' for row in rows)} of {len(rows)} numbers within tolerance"
    for row in rows:
        if row["status"] == "fail":
            yield f"  {row['quantity']} of {row['model']}: {row['ours']} instead of {row['expected']} (tolerance {row['tolerance']})"


def main(args: argparse.Namespace) -> None:
    print()
    for line in (*made(args), *times(args.results), *left_out(args), *reproduced(args.results / "reproduction.csv")):
        print(line)
    if (args.results / "report").is_dir():
        print(f"Report: snakemake --report report.zip {args.arguments}".rstrip())
    for line in warnings(args.results / "warnings.json"):
        print(line)


if __name__ == "__main__":
    cli.run(main, arguments())
