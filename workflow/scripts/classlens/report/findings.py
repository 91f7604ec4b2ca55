"""What a run has found about each model, in one sentence: where class information arises, and how much of it there is at the end.

A model leaves the range of its random twins at the first block from which on the lower end of its 95 % interval stays above the largest
twin, up to the last block. The numbers are those of F2 (`mean_evolution`) and T1 (`identifiability`).
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from classlens.presentation.texts import known, number, per_cent
from classlens.vocabulary import TOKEN_NAMES

DEFINITION = (
    "A model leaves the range of its random twins at the first block from which on the lower end of its 95 % interval over images stays"
    " above the largest twin, up to the last block. The stars of F1 have another test: in each block by itself, it compares the model's"
    " mean with the spread of its twins."
)
"""The rule of the sentences, for pages that show them."""
TOKENS = ("image", "cls")
"""Token kinds in the order of a sentence."""


@dataclass(frozen=True)
class Finding:
    """A sentence about a model, without its label."""

    label: str
    text: str


@dataclass(frozen=True)
class Group:
    """Mean class identifiability of one token kind of a model after each block, beside its random twins.

    Attributes:
        rows: rows of F2, one per block.
        above: whether the interval lies above the largest twin, by block.
    """

    rows: list[dict[str, Any]]
    above: list[bool]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Group":
        """Return the group that rows (block) of F2 describe."""
        rows = frame.sort("block").rows(named=True)
        return cls(rows, [known(row["low"]) and known(row["twins_high"]) and row["low"] > row["twins_high"] for row in rows])

    @property
    def stays_from(self) -> int | None:
        """Index of the first block from which on the interval stays above the largest twin, or None."""
        last_below = max((index for index, is_above in enumerate(self.above) if not is_above), default=-1)
        return last_below + 1 if last_below + 1 < len(self.above) else None

    @property
    def twins(self) -> str:
        """The random twins in words."""
        seeds = self.rows[0]["seeds"]
        return "its only random twin" if seeds == 1 else f"the range of its {seeds} random twins"


def findings(evolution: pl.DataFrame, rates: pl.DataFrame | None, depths: dict[str, int]) -> list[Finding]:
    """Return a sentence per model, in the order of the table.

    Args:
        evolution: the numbers of F2, rows (model, tokens, block).
        rates: table T1, or None if the run has not made it.
        depths: number of blocks of each model. F2 of the protocol `paper` averages blocks of deep models in pairs.
    """
    result = []
    for (model, label), frame in evolution.group_by("model", "label", maintain_order=True):
        groups = {tokens: Group.of(frame.filter(tokens=tokens)) for tokens in TOKENS if tokens in frame["tokens"]}
        unit = "block" if depths[str(model)] == frame["block"].n_unique() else "block pair"
        parts = [_evolution(tokens, group, unit, first=not index) for index, (tokens, group) in enumerate(groups.items())]
        parts += _rates(rates, str(model)) if rates is not None else []
        images = min(row["images"] for group in groups.values() for row in group.rows)
        result.append(Finding(str(label), f"{'; '.join(parts)} (n = {images} image{'' if images == 1 else 's'})."))
    return result


def _evolution(tokens: str, group: Group, unit: str, first: bool) -> str:
    """Return the part of the sentence about one token kind; only the first part names the measure, the twins and chance."""
    row = group.rows[-1]
    interval = _interval(row["low"], row["high"])
    level = f"{interval}; chance {number(row['chance'])}" if first else interval.removeprefix("95 % interval ")
    reached = f"reaches {number(row['mean'])} ({level}) in {unit} {len(group.rows)}"
    subject = f"class identifiability of {TOKEN_NAMES[tokens]}" if first else TOKEN_NAMES[tokens]
    return f"{subject} {_against_twins(group, unit, group.twins if first else 'it', first)} {reached}"


def _against_twins(group: Group, unit: str, twins: str, first: bool) -> str:
    """Return the comparison with the twins as a predicate that ends in `and`."""
    depth, stays = len(group.rows), group.stays_from
    of_depth = f" of {depth}" if first else ""
    if not group.rows[0]["seeds"]:
        return "has no random twins to compare with, and" if first else "also"
    if stays == 0:
        return f"is above {twins} from {unit} 1{of_depth} on and"
    if stays:
        return f"leaves {twins} at {unit} {stays + 1}{of_depth} and"
    if any(group.above):
        where = _ranges([index + 1 for index, is_above in enumerate(group.above) if is_above])
        return f"is above {twins} only in {unit}s {where} of {depth}, and is not above it at the end; it"
    largest = max(row["twins_high"] for row in group.rows)
    return f"never rises above {twins} (largest twin {number(largest)}) in {depth} {unit}s and"


def _ranges(numbers: list[int]) -> str:
    """Return increasing numbers in words: `2 to 4 and 7`."""
    runs = [[value for _, value in run] for _, run in groupby(enumerate(numbers), lambda item: item[1] - item[0])]
    *others, last = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{', '.join(others)} and {last}" if others else last


def _rates(rates: pl.DataFrame, model: str) -> list[str]:
    """Return the parts of the sentence about a model's row of T1, if it has one."""
    return [
        part
        for row in rates.filter(model=model).iter_rows(named=True)
        for part in (
            f"the true class ranks first at {per_cent(row, 'identifiability_rate')} of its image tokens",
            f"the output is right for {per_cent(row, 'accuracy')} of the images",
        )
    ]


def _interval(low: float | None, high: float | None) -> str:
    """Return an interval in words, or that there is none, as for a single image."""
    return f"95 % interval {number(low)} to {number(high)}" if known(low) and known(high) else "no interval"
