"""The choice of images to show, if a data set has more of them than the explorer is to show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from classlens.explorer.series import Series
from classlens.models.card import Card
from classlens.storage import parquet


@dataclass(frozen=True)
class Choice:
    """The number of images to show, and the tables of the guide, the model whose numbers choose them for all models of a data set.

    Attributes:
        number: number of images to choose; None to show all, without a guide.
        card: model.json of the guide.
        predictions: its predictions.
        projections: its shards of projections.
    """

    number: int | None = None
    card: Path | None = None
    predictions: Path | None = None
    projections: list[Path] = field(default_factory=list)

    def among(self, images: list[int]) -> list[int]:
        """Return the ids of the images to show, among those of all images.

        Raises:
            InputError: a table is damaged or belongs to another model.
        """
        if self.number is None:
            return images
        assert self.card and self.predictions
        card = Card.read(self.card)
        series = Series.read(self.projections, card)
        gains = dict(zip(series.images, series.gain.tolist(), strict=True))
        return most_telling(candidates_of(gains, predictions_of(self.predictions, card)), self.number)


def predictions_of(path: Path, card: Card) -> dict[int, dict[str, Any]]:
    """Return the rows of a table of predictions by image id.

    Raises:
        InputError: the table is damaged or belongs to another model.
    """
    rows = pl.DataFrame(parquet.read_table(path, model=card.sha256)).iter_rows(named=True)
    return {row["image_id"]: row for row in rows}


@dataclass(frozen=True)
class Candidate:
    """An image that may be shown.

    Attributes:
        image: image id.
        class_index: index of the true class.
        gain: by how much class identifiability grows from the first to the last block.
        right: whether the output is right.
    """

    image: int
    class_index: int
    gain: float
    right: bool


def most_telling(candidates: list[Candidate], number: int) -> list[int]:
    """Return the ids of the images that tell most, in ascending order.

    The classes have equal numbers of images (`numbers_per_class`), and their wrong outputs have the share that they have among all images
    (`wrong_per_class`). Among the right outputs of a class, and among its wrong ones, images with the largest and with the smallest gain
    alternate.

    Args:
        candidates: all images.
        number: number of images to choose.
    """
    of_class: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        of_class.setdefault(candidate.class_index, []).append(candidate)
    numbers = numbers_per_class(of_class, number)
    chosen: list[Candidate] = []
    for index, wrong in wrong_per_class(of_class, numbers).items():
        for is_right, count in ((True, numbers[index] - wrong), (False, wrong)):
            chosen += _alternating([one for one in of_class[index] if one.right is is_right])[:count]
    return sorted(candidate.image for candidate in chosen)


def numbers_per_class(of_class: Mapping[int, list[Candidate]], number: int) -> dict[int, int]:
    """Return the number of images to choose from each class; they differ by at most one, unless a class has too few images.

    If not all classes can have one more, those have it whose gains reach farthest from the mean over all images.
    """
    mean = float(np.mean([one.gain for found in of_class.values() for one in found]))
    order = sorted(of_class, key=lambda index: (-max(abs(one.gain - mean) for one in of_class[index]), index))
    numbers = dict.fromkeys(sorted(of_class), 0)
    left = min(number, sum(map(len, of_class.values())))
    while left:
        able = [index for index in order if numbers[index] < len(of_class[index])][:left]
        for index in able:
            numbers[index] += 1
        left -= len(able)
    return numbers


def wrong_per_class(of_class: Mapping[int, list[Candidate]], numbers: Mapping[int, int]) -> dict[int, int]:
    """Return how many of each class's chosen images have a wrong output: the share of the class, rounded so that the sum is right too.

    The classes with the largest remainders are rounded up.
    """
    shares = {index: Fraction(sum(not one.right for one in found), len(found)) for index, found in of_class.items()}
    exact = {index: numbers[index] * share for index, share in shares.items()}
    wrong = {index: floor(value) for index, value in exact.items()}
    missing = round(sum(exact.values())) - sum(wrong.values())
    for index in sorted(exact, key=lambda index: (wrong[index] - exact[index], index))[:missing]:
        wrong[index] += 1
    return wrong


def _alternating(candidates: list[Candidate]) -> list[Candidate]:
    """Return images in the order largest gain, smallest, second largest, and so on; of equal gains the smaller id first."""
    ranked = sorted(candidates, key=lambda candidate: (-candidate.gain, candidate.image))
    return [ranked[place // 2] if place % 2 == 0 else ranked[-1 - place // 2] for place in range(len(ranked))]


def candidates_of(gains: Mapping[int, float], predictions: Mapping[int, Mapping[str, object]]) -> list[Candidate]:
    """Return the images of a model from their gains and their rows in the table of predictions, both by image id."""
    return [Candidate(image, int(str(row["class_index"])), gains[image], bool(row["correct"])) for image, row in predictions.items()]
