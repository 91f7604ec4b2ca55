"""Facts about a run, from its files: times of its stages, its images, and what it reproduced."""

import csv
import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classlens.errors import printable
from classlens.models.card import Card
from classlens.presentation.texts import number, quoted
from classlens.storage import parquet
from classlens.storage.parquet import StoredTable

KINDS = 5
"""Maximum number of kinds of non-image files that are listed."""


@dataclass(frozen=True)
class Stage:
    """The jobs of one stage; `seconds` is the sum of their times, even if some ran in parallel."""

    name: str
    jobs: int
    seconds: float


def stages(benchmarks: Path) -> list[Stage]:
    """Return the stages of a run, the longest first, with the time of each job's last run; empty without benchmarks.

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


def duration(seconds: float) -> str:
    """Return a readable duration: `41 s`, `5.2 min`, `3.4 h`, `2.5 days`."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit * (2 if unit == 86400 else 1):
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


@dataclass(frozen=True)
class Split:
    """A split of a data set: its images, the number of unusable images, and its non-image files (number, reason, example)."""

    dataset: str
    name: str
    images: int
    left_out: int
    no_images: list[tuple[int, str, str]]


def split(manifest: Path) -> Split:
    """Return the facts about a split from its manifest, `data/{dataset}/{split}/manifest.parquet`.

    Raises:
        InputError: the file is damaged.
    """
    table = StoredTable(manifest)
    left_out, no_images = int(table.metadata[b"images_left_out"]), json.loads(table.metadata.get(b"left_out", b"[]"))
    return Split(manifest.parent.parent.name, manifest.parent.name, table.read(["image_id"]).num_rows, left_out, no_images)


def accuracy(results: Path, model: str) -> str | None:
    """Return a model's accuracy over the images of its analysed split: `69.0 % of 100 images`; None without predictions.

    Args:
        results: folder of a run's results.
        model: name of the model in the config.

    Raises:
        InputError: a file is damaged.
    """
    tables = [parquet.read_table(path, columns=["correct"]) for path in results.glob(f"predictions/{glob.escape(model)}/*/*.parquet")]
    correct = [value for table in tables for value in table["correct"].to_pylist()]
    return f"{number(100 * sum(correct) / len(correct))} % of {len(correct)} images" if correct else None


def transform(settings: dict[str, Any]) -> str:
    """Describe an image transform (`transforms`) in words."""
    resize, crop = settings["resize"], settings["crop"]
    whole = "resize to cover" if settings.get("keep_ratio") else "resize to"
    steps = [f"{whole} {_size(resize)}" if isinstance(resize, list) else f"shortest side to {resize}"]
    steps += [f"centre crop {_size(crop)}"] if crop else []
    mean, std = (", ".join(map(quoted, settings[name])) for name in ("mean", "std"))
    return f"{', '.join(steps)}, {settings['interpolation']}; mean {mean}; std {std}"


def _size(sides: list[int]) -> str:
    return "×".join(map(str, sides))


def left_out(manifests: Iterable[Path], models: Iterable[tuple[str, Card]], without_masks: list[str]) -> Iterator[str]:
    """Yield what a run left out, and why: unusable images, non-image files, and results that need missing [CLS] or masks.

    Args:
        manifests: manifests of its splits, `{results}/data/{dataset}/{split}/manifest.parquet`.
        models: label and card of each model.
        without_masks: requested figures and tables that are left out because masks are missing.
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
    """Return the warnings of the sanity checks (`sanity`); empty if the checks have not run yet.

    Args:
        path: `warnings.json`.

    Returns:
        `about` (label of a model, or name of a data set), `model` and `dataset` (names, or null) and `message` of each warning.
    """
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def comparison(reproduction: Path) -> list[dict[str, str]]:
    """Return the rows of `reproduction.csv`, the expected numbers beside ours; empty if the run has no expected numbers."""
    if not reproduction.is_file():
        return []
    with open(reproduction, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
