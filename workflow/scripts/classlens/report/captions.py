"""Captions of figures and tables: their text from `workflow/report/`, and the facts of a run beside it.

A caption's text is a template in reStructuredText that knows the name of the protocol.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from docutils.core import publish_parts
from jinja2 import StrictUndefined, Template
from markupsafe import Markup

from classlens.models.card import Card
from classlens.presentation.texts import number_or_undefined, quoted


@dataclass(frozen=True)
class Expectation:
    """An expected number beside ours: its quantity, the label of its model, the number as its source gives it, and the run's number."""

    quantity: str
    label: str
    expected: str
    ours: str


@dataclass(frozen=True)
class Caption:
    """A caption.

    Attributes:
        text: what the figure or table shows, as HTML.
        n: numbers of images, tokens or classes, with the models that they are of; empty for comparisons.
        settings: protocol, seed, and numbers of draws; empty for comparisons.
        expected: expected numbers of a table, by their source.
    """

    text: Markup
    n: str = ""
    settings: str = ""
    expected: dict[str, list[Expectation]] = field(default_factory=dict)


def text_of(path: Path, protocol: str) -> Markup:
    """Return the text of a caption as HTML.

    Args:
        path: the caption's template.
        protocol: name of the protocol.
    """
    text = Template(path.read_text(encoding="utf-8"), undefined=StrictUndefined, trim_blocks=True).render(protocol=protocol)
    return Markup(publish_parts(text, writer="html5", settings_overrides={"_disable_config": True, "halt_level": 2})["body"])


def of(text: Markup, frame: pl.DataFrame, cards: dict[str, Card], images: dict[str, int], expected: list[dict[str, str]]) -> Caption:
    """Return a caption with the facts of this run.

    Args:
        text: from `text_of`.
        frame: the figure's or table's numbers.
        cards: cards of all models of the run, by name.
        images: number of analysed images of each model, for tables that count none.
        expected: rows of `reproduction.csv` that compare this table.
    """
    return Caption(text, counts(frame, cards, images), _settings(frame), _expected(frame, expected))


def counts(frame: pl.DataFrame, cards: dict[str, Card], images: dict[str, int]) -> str:
    """Return the numbers of images and of tokens per image, or the number of classes; models with equal numbers share an entry."""
    models: dict[str, list[str]] = {}
    for (model, label), rows in frame.group_by("model", "label", maintain_order=True):
        if count := _count(rows, cards[str(model)], images.get(str(model))):
            models.setdefault(count, []).append(str(label))
    return ". ".join(f"{count} ({'; '.join(labels)})" for count, labels in models.items())


def _count(rows: pl.DataFrame, card: Card, analysed: int | None) -> str | None:
    images = images_of(rows)
    if not images and "classes" in rows.columns and rows.schema["classes"].is_integer():
        return f"{rows['classes'][0]} classes"
    tokens = f"{card.image_tokens} image tokens" + (" and [CLS]" if card.cls_token else "")
    low, high = min(images, default=analysed), max(images, default=analysed)
    if high == 1:
        return f"1 image with {tokens}"
    return f"{high if low == high else f'{low} to {high}'} images with {tokens} each" if high else None


def images_of(rows: pl.DataFrame) -> list[int]:
    """Return the different numbers of images that rows of one model count; none if they count no images."""
    if "images" in rows.columns:
        return rows["images"].cast(pl.Int64).drop_nulls().unique().to_list()  # null where a row counts classes
    if "images_right" in rows.columns:
        return (rows["images_right"] + rows["images_wrong"]).unique().to_list()
    return [rows["image_id"].n_unique()] if "image_id" in rows.columns else []


def analysed(frames: Iterable[pl.DataFrame]) -> dict[str, int]:
    """Return the number of analysed images of each model: the largest that any of its tables counts."""
    found: dict[str, int] = {}
    for (model,), rows in (group for frame in frames for group in frame.group_by("model")):
        found[str(model)] = max([found.get(str(model), 0), *images_of(rows)])
    return found


def _settings(frame: pl.DataFrame) -> str:
    """Return protocol, seed, and the numbers of permutations and resamples."""
    draws = [f"{frame[name][0]} {name}" for name in ("permutations", "resamples") if name in frame.columns]
    return ", ".join([str(frame["protocol"][0]), f"seed {frame['seed'][0]}", *draws])


def _expected(frame: pl.DataFrame, rows: list[dict[str, str]]) -> dict[str, list[Expectation]]:
    """Return expected numbers beside ours, by source."""
    labels = dict(frame.select("model", "label").iter_rows())
    found: dict[str, list[Expectation]] = {}
    for row in rows:
        ours = number_or_undefined(float(row["ours"])) if row["ours"] else "not run"
        entry = Expectation(row["quantity"], labels.get(row["model"], row["model"]), quoted(float(row["expected"])), ours)
        found.setdefault(row["source"], []).append(entry)
    return found
