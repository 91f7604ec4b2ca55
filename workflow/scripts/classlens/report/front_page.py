"""The report's front page: what the run found, its models and images, and last its versions and hashes."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from classlens.models.card import Card
from classlens.presentation.templates import render
from classlens.presentation.texts import per_cent
from classlens.report import run_facts
from classlens.report.captions import Caption
from classlens.report.findings import DEFINITION, Finding
from classlens.report.pages import asset, caption_html, data_uri


@dataclass(frozen=True)
class Found:
    """What the front page opens with.

    Attributes:
        sentences: a sentence per model.
        picture: figure F2, in a format that pages can show as an image.
        name: name of this figure.
        caption: its caption.
    """

    sentences: list[Finding]
    picture: Path
    name: str
    caption: Caption


def page(facts: dict[str, Any], found: Found | None) -> str:
    """Return the front page as HTML, without the tags of a document, because Snakemake puts it in its own page.

    Args:
        facts: values of `front_page.html` about the run; all text is escaped.
        found: the findings, or None if the run has none.
    """
    opening: dict[str, Any] = {"findings": [], "picture": "", "picture_name": "", "caption": "", "definition": DEFINITION}
    if found:
        picture = data_uri(found.picture) if found.picture.suffix != ".pdf" else ""
        opening |= {"findings": found.sentences, "picture": picture, "picture_name": found.name, "caption": caption_html(found.caption)}
    return render(asset("front_page.html"), style=Markup(asset("front_page.css")), **facts, **opening)


def models(cards: dict[str, Card], labels: dict[str, str], rates: pl.DataFrame | None) -> list[dict[str, str]]:
    """Return label, architecture, size, weights, head and accuracy of each model, in the order of the config.

    Args:
        cards: card of each model.
        labels: label of each model.
        rates: table T1, or None if the run has not made it.
    """
    accuracies = {row["model"]: _accuracy(row) for row in rates.iter_rows(named=True)} if rates is not None else {}
    return [
        {
            "label": labels[name],
            "arch": card.arch,
            "size": f"{card.depth} blocks, {card.heads} heads, width {card.width}, {card.grid[0]}×{card.grid[1]} patches",
            "weights": card.source,
            "head": card.head_text,
            "accuracy": accuracies.get(name, ""),
        }
        for name, card in cards.items()
    ]


def _accuracy(row: dict[str, Any]) -> str:
    """Return the accuracy in a row of T1 with its interval and n, or with the range of several random twins."""
    twins = f", {row['seeds']} twins" if (row["seeds"] or 1) > 1 else ""
    return f"{per_cent(row, 'accuracy')}, n = {row['images']}{twins}"


def transforms(cards: dict[str, Card], labels: dict[str, str]) -> dict[str, list[str]]:
    """Return the labels of the models that use each image transform."""
    found: dict[str, list[str]] = {}
    for name, card in cards.items():
        found.setdefault(run_facts.transform(card.transform), []).append(labels[name])
    return found


def splits(manifests: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the facts about the analysed splits (`run_facts.Split`)."""
    return [asdict(run_facts.split(path)) for path in manifests]


def compared(expected: list[dict[str, str]]) -> dict[str, dict[str, int]]:
    """Return how many expected numbers are reproduced, by their source.

    Args:
        expected: rows of `reproduction.csv`.
    """
    words = {"pass": "within tolerance", "fail": "outside tolerance", "not run": "not run"}
    counts: dict[str, dict[str, int]] = {}
    for row in expected:
        of_source = counts.setdefault(row["source"], {})
        of_source[words[row["status"]]] = of_source.get(words[row["status"]], 0) + 1
    return counts
