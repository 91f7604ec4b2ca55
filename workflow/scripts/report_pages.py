"""Write the report's pages of tables, and the facts in its captions and on its front page."""

import json
from argparse import Namespace
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import cli
from classlens.config.steps import ReportStep
from classlens.models.card import Card
from classlens.report import pages, run_facts
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ReportStep).many(cards="model.json of each model", manifests="manifests of the analysed splits")
    parser.many(figures="csv files of the figures", tables="tables of the run")
    parser.maybe(reproduction="comparison with expected numbers").one(warnings="warnings of the run, as JSON")
    parser.one(benchmarks="folder of the run's benchmarks", facts="facts to write, as JSON")
    return parser.many(pages="pages to write: one per table, and one for the comparison")


def main(args: Namespace, settings: ReportStep) -> None:
    labels = {model.name: model.label for model in settings.models}
    cards = {name: Card.read(path) for name, path in zip(labels, args.cards, strict=True)}
    figures, tables = ({path.stem: pl.read_csv(path, infer_schema_length=None) for path in paths} for paths in (args.figures, args.tables))
    expected = run_facts.comparison(args.reproduction) if args.reproduction else []
    facts: dict[str, Any] = {f"figures/{name}": pages.facts_of(frame, cards, []) for name, frame in figures.items()}
    for name, frame in tables.items():
        facts[f"tables/{name}"] = pages.facts_of(frame, cards, [row for row in expected if row["table"] == name])
    rates = tables.get("identifiability", pl.DataFrame({"model": [], "accuracy": []}))
    facts["summary"] = pages.in_one_line(
        {
            "seed": settings.seed,
            **pages.summary(cards, labels, args.manifests, dict(rates.select("model", "accuracy").iter_rows()), expected),
            "warnings": run_facts.warnings(args.warnings),
            "left_out": list(run_facts.left_out(args.manifests, zip(labels.values(), cards.values(), strict=True), settings.without_masks)),
            "stages": [{**asdict(stage), "time": run_facts.duration(stage.seconds)} for stage in run_facts.stages(args.benchmarks)],
            "versions": {**measured_with(args.manifests[0]), **{name: version(name) for name in ("matplotlib", "snakemake")}},
            "hashes": settings.hashes,
        }
    )
    write(args, settings.titles, tables, facts)


def measured_with(manifest: Path) -> dict[str, str]:
    """Return the versions of the libraries that made the results. Published results may come from other versions."""
    return json.loads(parquet.StoredTable(manifest).metadata[b"versions"])


def write(args: Namespace, titles: list[str], tables: dict[str, pl.DataFrame], facts: dict[str, Any]) -> None:
    frames = [*tables.values(), *([pl.read_csv(args.reproduction)] if args.reproduction else [])]
    for title, frame, path in zip(titles, frames, args.pages, strict=True):
        with atomic_write(path) as draft:
            draft.write_text(pages.page(title, frame), encoding="utf-8")
    with atomic_write(args.facts) as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
