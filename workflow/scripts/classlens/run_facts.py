"""What a run has done, from the files that it leaves: how long its stages took, which images it has, what it reproduced."""

import csv
from dataclasses import dataclass
from pathlib import Path

from classlens.storage import StoredTable


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
    """The images of a split of a data set, and how many were left out because they cannot be used."""

    dataset: str
    name: str
    images: int
    left_out: int


def split(manifest: Path) -> Split:
    """What the manifest at `data/{dataset}/{split}/manifest.parquet` says.

    Raises:
        InputError: the file is damaged.
    """
    table = StoredTable(manifest)
    left_out = int(table.metadata[b"images_left_out"])
    return Split(manifest.parent.parent.name, manifest.parent.name, table.read(["image_id"]).num_rows, left_out)


def comparison(reproduction: Path) -> list[dict[str, str]]:
    """Rows of `reproduction.csv`, the numbers that the run should give; none where nobody expects any."""
    if not reproduction.is_file():
        return []
    with open(reproduction, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
