"""Contents of Snakemake's report besides figures: tables as HTML pages, and facts for its captions and its front page.

Captions and front page are templates in `workflow/report/`; this module supplies their facts about the run.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from classlens.errors import printable
from classlens.models.card import Card
from classlens.presentation.templates import render
from classlens.report import run_facts

OMITTED_COLUMNS = ("random", "permutations", "resamples", "seed", "protocol", "source")
"""Columns that a page omits, because the caption or another column has the same information."""

TABLE_PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 3em 1em 1em; color: #1a1a1a; background: #fff }
h1 { font-size: 1.2em }
table { border-collapse: collapse }
th, td { padding: .3em .5em; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #888 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
</style>
<h1>{{ title }}</h1>
<table>
<thead><tr>{% for head in heads %}<th scope=col>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows -%}
<tr>{% for text, is_number in row %}<td{% if is_number %} class=number{% endif %}>{{ text }}</td>{% endfor %}</tr>
{%- if not loop.last %}{{ "\n" }}{% endif -%}
{% endfor %}
</tbody>
</table>
</html>
"""


# Tables


def page(title: str, frame: pl.DataFrame) -> str:
    """Return a table as a self-contained HTML page; all text from data is escaped.

    Args:
        title: its heading.
        frame: the table; `merge_intervals` merges each column with the columns of its interval.
    """
    named = frame.drop("model").rename({"label": "model"}) if "label" in frame.columns else frame
    shown = merge_intervals(named.drop(OMITTED_COLUMNS, strict=False))
    heads = [name.replace("_", " ") for name in shown.columns]
    return render(TABLE_PAGE, title=title, heads=heads, rows=[[_cell(value) for value in row] for row in shown.iter_rows()])


def _cell(value: object) -> tuple[str, bool]:
    """Return the text of a cell, and whether it starts like a number."""
    text = _text(value)
    return text, re.match(r"[-\d]", text) is not None


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def merge_intervals(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table with intervals in brackets after their values: columns `x`, `x_low`, `x_high`, or `x`, `low`, `high`, become `x`."""
    names, columns = frame.columns, []
    while names:
        name, *rest = names
        if [other.removeprefix(f"{name}_") for other in rest[:2]] == ["low", "high"]:
            values = frame.select(name, *rest[:2]).iter_rows()
            columns.append(pl.Series(name, [_with_interval(*row) for row in values], pl.String))
            rest = rest[2:]
        else:
            columns.append(frame[name])
        names = rest
    return pl.DataFrame(columns)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return _text(value) if low is None else f"{_text(value)} [{_text(low)},\N{NO-BREAK SPACE}{_text(high)}]"


# Captions


def facts_of(frame: pl.DataFrame, cards: dict[str, Card], expected: list[dict[str, str]]) -> str:
    """Return the facts of a caption about this run, as reStructuredText: n, settings, and expected numbers beside ours.

    Args:
        frame: the figure's or table's numbers.
        cards: cards of all models of the run, by name.
        expected: rows of `reproduction.csv` that compare this table.
    """
    parts = [_counts(frame, cards), _settings(frame), _expected(frame, expected)]
    return "\n\n".join(part for part in parts if part)


def _counts(frame: pl.DataFrame, cards: dict[str, Card]) -> str:
    """Return the numbers of images and of tokens per image, or the number of classes; models with equal numbers share an entry."""
    models: dict[str, list[str]] = {}
    for (model, label), rows in frame.group_by("model", "label", maintain_order=True):
        if count := _count(rows, cards[str(model)]):
            models.setdefault(count, []).append(str(label))
    return "**n**: " + ". ".join(f"{count} ({escaped('; '.join(labels))})" for count, labels in models.items()) + "." if models else ""


def _count(rows: pl.DataFrame, card: Card) -> str | None:
    images = None
    if "images" in rows.columns:
        images = rows["images"].max()  # None if all rows count classes
    elif "images_right" in rows.columns:
        images = rows["images_right"][0] + rows["images_wrong"][0]
    elif "image_id" in rows.columns:
        images = rows["image_id"].n_unique()
    if images:
        tokens = f"{card.image_tokens} image tokens" + (r" and \[CLS\]" if card.cls_token else "")
        return f"1 image with {tokens}" if images == 1 else f"{escaped(str(images))} images with {tokens} each"
    return f"{rows['classes'][0]} classes" if rows.schema.get("classes") == pl.Int64 else None


def _settings(frame: pl.DataFrame) -> str:
    """Return protocol, seed, and the numbers of permutations and resamples."""
    draws = [f"{escaped(str(frame[name][0]))} {name}" for name in ("permutations", "resamples") if name in frame.columns]
    return f"**Protocol**: {', '.join([escaped(frame['protocol'][0]), 'seed ' + escaped(str(frame['seed'][0])), *draws])}."


def _expected(frame: pl.DataFrame, rows: list[dict[str, str]]) -> str:
    """Return lists of expected numbers beside ours, one list per source."""
    labels = dict(frame.select("model", "label").iter_rows())
    parts = []
    for source in dict.fromkeys(row["source"] for row in rows):
        items = [
            f"- {escaped(row['quantity'])}, {escaped(labels.get(row['model'], row['model']))}:"
            f" {float(row['expected']):g}, here {_text(float(row['ours'])) if row['ours'] else 'not run'}"
            for row in rows
            if row["source"] == source
        ]
        parts.append("\n".join([f"**Expected** ({escaped(source)}):", "", *items]))
    return "\n\n".join(parts)


def escaped(text: str) -> str:
    """Return text escaped for reStructuredText, so that no part of it is markup."""
    return re.sub(r"([^A-Za-z0-9\s])", r"\\\1", printable(text))


# Front page


def in_one_line(facts: Any) -> Any:
    """Return facts with each text on one line: the front page puts them in a block of raw HTML, which a line break would end."""
    if isinstance(facts, dict):
        return {in_one_line(key): in_one_line(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [in_one_line(value) for value in facts]
    return " ".join(facts.split()) if isinstance(facts, str) else facts


def summary(
    cards: dict[str, Card], labels: dict[str, str], manifests: Iterable[Path], accuracies: dict[str, float], expected: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the front page's facts about models, image transforms, data sets and reproduced numbers.

    Args:
        cards: card of each model, in the order of the config.
        labels: label of each model.
        manifests: manifests of the analysed splits.
        accuracies: known accuracies in per cent, by model.
        expected: rows of `reproduction.csv`.
    """
    models = [
        {
            "name": name,
            "label": labels[name],
            "arch": card.arch,
            "weights": card.source,
            "sha256": card.sha256,
            "accuracy": f"{accuracies[name]:.4g} %" if name in accuracies else None,
        }
        for name, card in cards.items()
    ]
    transforms: dict[str, list[str]] = {}
    for name, card in cards.items():
        transforms.setdefault(transform(card.transform), []).append(labels[name])
    statuses = [row["status"] for row in expected]
    counts = {status: statuses.count(status) for status in ("pass", "fail", "not run") if status in statuses}
    splits = [asdict(run_facts.split(path)) for path in manifests]
    return {"models": models, "transforms": transforms, "splits": splits, "expected": counts}


def transform(settings: dict[str, Any]) -> str:
    """Describe an image transform (`transforms`) in words."""
    resize, crop = settings["resize"], settings["crop"]
    whole = "resize to cover" if settings.get("keep_ratio") else "resize to"
    steps = [f"{whole} {_size(resize)}" if isinstance(resize, list) else f"shortest side to {resize}"]
    steps += [f"centre crop {_size(crop)}"] if crop else []
    mean, std = (", ".join(map(_text, settings[name])) for name in ("mean", "std"))
    return f"{', '.join(steps)}, {settings['interpolation']}; mean {mean}; std {std}"


def _size(sides: list[int]) -> str:
    return "×".join(map(str, sides))
