"""What a run has done, from the files that it leaves: how long its stages took, which images it has, what it reproduced."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classlens.errors import printable
from classlens.models.card import Card
from classlens.storage.parquet import StoredTable

KINDS = 5
"""How many kinds of files that are no images are named."""


@dataclass(frozen=True)
class Stage:
    """The jobs of one kind; `seconds` is the sum of what they took, also where some ran side by side."""

    name: str
    jobs: int
    seconds: float


def stages(benchmarks: Path) -> list[Stage]:
    """Stages of a run, the longest first, each with the last time that its jobs ran; none where there are no benchmarks.

    Args:
        benchmarks: folder of Snakemake's benchmark files, `{stage}/**/*.tsv` or `{stage}.tsv`.
    """
    seconds: dict[str, list[float]] = {}
    for path in benchmarks.rglob("*.tsv"):
        stage = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        seconds.setdefault(stage, []).append(_seconds(path))
    found = [Stage(name, len(values), sum(values)) for name, values in seconds.items()]
    return sorted(found, key=lambda stage: (-stage.seconds, stage.name))


def _seconds(benchmark: Path) -> float:
    with open(benchmark, newline="", encoding="utf-8") as file:
        return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))


def minutes(seconds: float) -> str:
    """A time for people: `41 s`, `5.2 min`, `3.4 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Split:
    """The images of a split of a data set, how many cannot be used, and files that are no images (number, why, one)."""

    dataset: str
    name: str
    images: int
    left_out: int
    no_images: list[tuple[int, str, str]]


def split(manifest: Path) -> Split:
    """What the manifest at `data/{dataset}/{split}/manifest.parquet` says.

    Raises:
        InputError: the file is damaged.
    """
    table = StoredTable(manifest)
    left_out, no_images = int(table.metadata[b"images_left_out"]), json.loads(table.metadata.get(b"left_out", b"[]"))
    return Split(manifest.parent.parent.name, manifest.parent.name, table.read(["image_id"]).num_rows, left_out, no_images)


def left_out(manifests: Iterable[Path], models: Iterable[tuple[str, Card]], without_masks: list[str]) -> Iterator[str]:
    """What a run left out, and why: unusable images, files that are no images, and what needs [CLS] or masks where there are none.

    Args:
        manifests: of its splits, `{results}/data/{dataset}/{split}/manifest.parquet`.
        models: what each model is called, and its card.
        without_masks: what was asked for and is not made for lack of masks.
    """
    for path in manifests:
        found = split(path)
        if found.left_out:
            log = f"logs/manifest/{found.dataset}/{found.name}.log"
            yield f"{found.left_out} of the images of {found.dataset}, {found.name} ({log} says why)"
        if found.no_images:
            kinds = ", ".join(f"{count} {why} ({printable(example)})" for count, why, example in found.no_images[:KINDS])
            others = sum(count for count, *_ in found.no_images[KINDS:])
            yield f"files of {found.dataset}, {found.name}: {kinds}{f', {others} others' if others else ''}"
    if without_cls := [name for name, card in models if not card.cls_token]:
        yield f"[CLS] and no_cls of {'; '.join(without_cls)} (no [CLS])"
    if without_masks:
        yield ", ".join(without_masks)


def warnings(path: Path) -> list[dict[str, Any]]:
    """Return signs that a run measured something else than was meant (`sanity`); none where nobody has looked yet.

    Args:
        path: `warnings.json`.

    Returns:
        `about` (label of a model, or name of a data set), `model` and `dataset` (names, or null) and `message` of each.
    """
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def comparison(reproduction: Path) -> list[dict[str, str]]:
    """Rows of `reproduction.csv`, the numbers that the run should give; none where nobody expects any."""
    if not reproduction.is_file():
        return []
    with open(reproduction, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
