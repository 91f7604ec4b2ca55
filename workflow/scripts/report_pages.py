"""Write what the report shows of a run beside its figures: tables as pages, and the facts in its captions and on its front page."""

import argparse
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import polars as pl

from classlens import cli, report, run_facts, storage
from classlens.card import Card


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--models", type=cli.json_argument, required=True, help="name and label of each model, as a JSON list")
    parser.add_argument("--cards", type=Path, nargs="+", required=True, help="model.json of each model")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="manifests of the splits that were analysed")
    parser.add_argument("--figures", type=Path, nargs="*", default=[], help="tables that the figures were drawn from")
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables of the run")
    parser.add_argument("--titles", type=cli.json_argument, default=[], help="title of each table's page, as a JSON list")
    parser.add_argument("--reproduction", type=Path, help="comparison with expected numbers")
    parser.add_argument("--without-masks", nargs="*", default=[], help="what was asked for and is not made for lack of masks")
    parser.add_argument("--warnings", type=Path, required=True, help="signs that something else was measured than was meant")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of the run's benchmarks")
    parser.add_argument("--seed", type=int, required=True, help="the run's seed")
    parser.add_argument("--hashes", type=cli.json_argument, required=True, help="sha256 of all code and of the lock file, as a JSON object")
    parser.add_argument("--pages", type=Path, nargs="*", default=[], help="page to write of each table, and of the comparison")
    parser.add_argument("--facts", type=Path, required=True, help="facts to write, as JSON")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    labels = {model["name"]: model["label"] for model in args.models}
    cards = {name: Card.read(path) for name, path in zip(labels, args.cards, strict=True)}
    figures, tables = ({path.stem: pl.read_csv(path, infer_schema_length=None) for path in paths} for paths in (args.figures, args.tables))
    expected = run_facts.comparison(args.reproduction) if args.reproduction else []
    facts = {f"figures/{name}": report.facts_of(frame, cards, []) for name, frame in figures.items()}
    for name, frame in tables.items():
        facts[f"tables/{name}"] = report.facts_of(frame, cards, [row for row in expected if row["table"] == name])
    rates = tables.get("identifiability", pl.DataFrame({"model": [], "accuracy": []}))
    facts["summary"] = report.in_one_line(
        {
            "seed": args.seed,
            **report.summary(cards, labels, args.manifests, dict(rates.select("model", "accuracy").iter_rows()), expected),
            "warnings": run_facts.warnings(args.warnings),
            "left_out": list(run_facts.left_out(args.manifests, zip(labels.values(), cards.values(), strict=True), args.without_masks)),
            "stages": [{**asdict(stage), "time": run_facts.minutes(stage.seconds)} for stage in run_facts.stages(args.benchmarks)],
            "versions": {**measured_with(args.manifests[0]), **{name: version(name) for name in ("matplotlib", "snakemake")}},
            "hashes": args.hashes,
        }
    )
    write(args, tables, facts)


def measured_with(manifest: Path) -> dict[str, str]:
    """Versions of the libraries that the results were made with, which need not be those here: others may have published them."""
    return json.loads(storage.StoredTable(manifest).metadata[b"versions"])


def write(args: argparse.Namespace, tables: dict[str, pl.DataFrame], facts: dict[str, object]) -> None:
    frames = [*tables.values(), *([pl.read_csv(args.reproduction)] if args.reproduction else [])]
    for title, frame, path in zip(args.titles, frames, args.pages, strict=True):
        with storage.whole(path) as draft:
            draft.write_text(report.page(title, frame), encoding="utf-8")
    with storage.whole(args.facts) as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
