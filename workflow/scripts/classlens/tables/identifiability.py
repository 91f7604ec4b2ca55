"""T1: identifiability rate, share of images with at least one identifiable token, and accuracy of every model.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

from itertools import groupby

import numpy as np
import polars as pl

from classlens import statistics
from classlens.analyses.identifiability import chance
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return one row per model, in per cent with 95 % intervals over images, and one row for all random twins of each model.

    Args:
        series: models and twins.
        inputs: `predictions`.
        protocol: not used, because both protocols have the same definition.
        seed: seed of the resampling.

    Returns:
        identifiability_rate (image tokens of the last block whose class ranks first, averaged over images), images_with_one, accuracy,
        the mean class identifiability of the same tokens, and its chance level. A row of several twins has the name of the first twin,
        their number in column `seeds`, the mean of each measure over twins, and the smallest and largest value in place of its interval.
    """
    predictions = {item.name: pl.DataFrame(table) for item, table in zip(series, inputs["predictions"], strict=True)}
    rows = []
    for _, group in groupby(series, key=lambda item: item.twin_of or (item.name,)):
        first, *others = items = list(group)
        found = [_per_image(item, predictions[item.name]) for item in items]
        row = _range_of(found) if others else _over_images(found[0], seed)
        row |= {"chance": 100 * chance(first.classes), "classes": first.classes, "images": len(found[0]["accuracy"])}
        rows.append(
            labelled(pl.DataFrame([{**row, "seeds": len(items) if first.twin_of else None}], schema_overrides={"seeds": pl.Int64}), first)
        )
    return pl.concat(rows, how="vertical_relaxed").with_columns(resamples=pl.lit(statistics.RESAMPLES))


def _per_image(item: Series, predictions: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return the value of each measure for each image, [image]."""
    last = item.frame.filter(tokens="image", block=item.depth - 1).sort("image_id")
    first, correct = last["first"].to_numpy(), predictions.sort("image_id")["correct"].to_numpy()
    return {
        "identifiability_rate": first,
        "images_with_one": first > 0,
        "accuracy": correct,
        "class_identifiability": last["identifiability"].to_numpy(),
    }


def _over_images(found: dict[str, np.ndarray], seed: int) -> dict[str, float | None]:
    """Return the mean of each measure with its interval, in per cent."""
    row: dict[str, float | None] = {}
    for name, values in found.items():
        kind = "proportion" if name in ("images_with_one", "accuracy") else "share"
        row |= statistics.row(name, values.astype(np.float64), seed, kind, 100)
    return row


def _range_of(found: list[dict[str, np.ndarray]]) -> dict[str, float | None]:
    """Return the mean, smallest and largest of the means of several twins, in per cent, for each measure."""
    row: dict[str, float | None] = {}
    for name in found[0]:
        means = [100 * values[name].mean() for values in found]
        row |= {name: float(np.mean(means)), f"{name}_low": min(means), f"{name}_high": max(means)}
    return row
