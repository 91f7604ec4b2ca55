"""Write the pages of the report: each figure and table with its caption, and the front page."""

import json
from argparse import Namespace
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import cli
from classlens.config.catalogue import EVOLUTION, RATES
from classlens.config.steps import ReportPage, ReportStep
from classlens.models.card import Card
from classlens.report import captions, front_page, pages, run_facts
from classlens.report.captions import Caption
from classlens.report.findings import findings
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write

CAPTIONS = Path(__file__).resolve().parent.parent / "report"
"""Folder of captions. It is no argument, because Snakemake's report shows the arguments, and so would tell the place of the checkout."""


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ReportStep).many(cards="model.json of each model", manifests="manifests of the analysed splits")
    parser.many(figures="csv files of the figures", pictures="the figures, in the order of their csv files", tables="tables of the run")
    parser.maybe(reproduction="comparison with expected numbers").one(warnings="warnings of the run, as JSON")
    parser.one(benchmarks="folder of the run's benchmarks", front_page="front page to write")
    return parser.many(pages="pages to write: one per figure and table, and one for the comparison")


def main(args: Namespace, settings: ReportStep) -> None:
    cards = {model.name: Card.read(path) for model, path in zip(settings.models, args.cards, strict=True)}
    pictures = {f"figures/{path.stem}": path for path in args.pictures}
    frames = {f"{path.parent.name}/{path.stem}": read(path) for path in (*args.figures, *args.tables)}
    expected = run_facts.comparison(args.reproduction) if args.reproduction else []
    made = {page.name: Caption(captions.text_of(CAPTIONS / f"{page.caption}.rst", settings.protocol)) for page in settings.contents}
    analysed = captions.analysed(frames.values())
    for name, frame in frames.items():
        compared = [row for row in expected if name == f"tables/{row['table']}"]
        made[name] = captions.of(made[name].text, frame, cards, analysed, compared)
    if args.reproduction:
        frames["reproduction"] = read(args.reproduction)
    for page, path in zip(settings.contents, args.pages, strict=True):
        write(path, html(page, frames[page.name], pictures.get(page.name), made[page.name]))
    evolution, rates = (frames.get(name) for name in (f"figures/{EVOLUTION}", f"tables/{RATES}"))
    found = None
    if evolution is not None:
        sentences = findings(evolution, rates, {name: card.depth for name, card in cards.items()})
        found = front_page.Found(sentences, pictures[f"figures/{EVOLUTION}"], EVOLUTION, made[f"figures/{EVOLUTION}"])
    write(args.front_page, front_page.page(facts(args, settings, cards, rates, expected), found))


def read(path: Path) -> pl.DataFrame:
    """Return a csv file; the type of a column depends on all rows, because an interval may be missing in many of them."""
    return pl.read_csv(path, infer_schema_length=None)


def html(page: ReportPage, frame: pl.DataFrame, picture: Path | None, with_caption: Caption) -> str:
    title, name = f"{page.letter} {page.title}".strip(), Path(page.name).name
    return pages.of_figure(title, name, picture, with_caption) if picture else pages.of_table(title, name, frame, with_caption)


def facts(
    args: Namespace, settings: ReportStep, cards: dict[str, Card], rates: pl.DataFrame | None, expected: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the front page's facts about the run."""
    labels = {model.name: model.label for model in settings.models}
    return {
        "run": settings.run,
        "protocol": settings.protocol,
        "seed": settings.seed,
        "models": front_page.models(cards, labels, rates),
        "transforms": front_page.transforms(cards, labels),
        "splits": front_page.splits(args.manifests),
        "expected": front_page.compared(expected),
        "warnings": run_facts.warnings(args.warnings),
        "left_out": list(run_facts.left_out(args.manifests, zip(labels.values(), cards.values(), strict=True), settings.without_masks)),
        "stages": [{**asdict(stage), "time": run_facts.duration(stage.seconds)} for stage in run_facts.stages(args.benchmarks)],
        "versions": {**measured_with(args.manifests[0]), **{name: version(name) for name in ("matplotlib", "snakemake")}},
        "hashes": {**{f"model.safetensors of {labels[name]}": card.sha256 for name, card in cards.items()}, **settings.hashes},
    }


def measured_with(manifest: Path) -> dict[str, str]:
    """Return the versions of the libraries that made the results. Published results may come from other versions."""
    return json.loads(parquet.StoredTable(manifest).metadata[b"versions"])


def write(path: Path, text: str) -> None:
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
