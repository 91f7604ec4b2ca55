"""Deletion curves and the areas under them, from what the model says about each image after each removal.

A good map has a large area if the least relevant tokens are removed first, and a small one if the most relevant are. Random orders are the
baseline.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. See docs/analyses/deletion.md.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from classlens import statistics
from classlens.protocol import Protocol
from classlens.vocabulary import ORDERS


def area(accuracy: np.ndarray, removed: list[int], image_tokens: int, protocol: Protocol) -> np.ndarray:
    """Return the area under curves of accuracy, [...].

    Args:
        accuracy: accuracy after each number of removals, [..., step].
        removed: numbers of removed tokens, [step].
        image_tokens: number N of image tokens.
        protocol: with `deletion_without_ends`, the area is the sum over the N - 1 steps, divided by N and by the curve's maximum;
            otherwise, the trapezoid area over the removed fraction, divided by the range of the fraction.
    """
    if protocol.deletion_without_ends:
        return accuracy.mean(axis=-1) * (image_tokens - 1) / (image_tokens * accuracy.max(axis=-1))
    fraction = np.asarray(removed) / image_tokens
    return np.trapezoid(accuracy, fraction, axis=-1) / (fraction[-1] - fraction[0])


Area = Callable[[np.ndarray], np.ndarray]
"""Function from curves [..., step] to the areas [...] under them."""

MEASURES = {"accuracy": "correct", "probability": "probability"}
"""Columns of each image's values by measure: whether the output is right, and the probability of the true class."""


def by_curve(frame: pl.DataFrame, measure: str) -> dict[tuple[str, str], np.ndarray]:
    """Return values [image, step] by method and order, as the mean over draws. Random orders stand for both orders.

    Args:
        frame: rows (method, order, draw, image_id) with the lists `correct` and `probability`.
        measure: `accuracy` or `probability`.
    """
    result = {}
    for (method, order), rows in frame.cast({"method": pl.String, "order": pl.String}).group_by("method", "order", maintain_order=True):
        rows = rows.sort("draw", "image_id")
        values = rows[MEASURES[measure]].explode().to_numpy().reshape(rows["draw"].n_unique(), rows["image_id"].n_unique(), -1)
        mean = values.mean(axis=0, dtype=np.float64)
        for name in ORDERS if method == "random" else (str(order),):
            result[str(method), name] = mean
    return result


def tables(frame: pl.DataFrame, removed: list[int], image_tokens: int, protocol: Protocol, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return deletion curves and areas with 95 % intervals over images.

    Args:
        frame: rows (method, order, draw, image_id) with the lists `correct` and `probability`.
        removed: numbers of removed tokens.
        image_tokens: number of image tokens.
        protocol: chooses the definition of the area.
        seed: seed of the resampling, which draws the same images for every curve.

    Returns:
        two tables. The curves have rows (method, order, removed) with accuracy, low, high and images. The areas have rows (method, order)
        with area, low, high, the difference from the area of random orders, difference_low, difference_high and images. Both also have
        the same columns for the probability of the true class, whose names begin with `probability`, and resamples, seed and protocol.
        Values and areas lie between 0 and 1.
    """
    curves, areas = [], []
    for measure in MEASURES:
        curve, area = _of_measure(by_curve(frame, measure), removed, image_tokens, protocol, seed)
        if measure == "accuracy":
            curves.append(curve.rename({"value": "accuracy"}))
            areas.append(area)
        else:
            curves.append(_prefixed(curve, measure).rename({f"{measure}_value": measure}))
            areas.append(_prefixed(area, measure))
    origin = [pl.lit(statistics.RESAMPLES).alias("resamples"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    together = [pl.concat(parts, how="horizontal").with_columns(origin) for parts in (curves, areas)]
    return together[0], together[1]


def _prefixed(table: pl.DataFrame, measure: str) -> pl.DataFrame:
    """Return the values of a table with names that begin with the measure."""
    return table.drop("method", "order", "removed", "images", strict=False).rename(lambda name: f"{measure}_{name}")


def _of_measure(
    measured: dict[tuple[str, str], np.ndarray], removed: list[int], image_tokens: int, protocol: Protocol, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return curves (column value) and areas of one measure, from its values [image, step] by method and order."""
    of = partial(area, removed=removed, image_tokens=image_tokens, protocol=protocol)
    curves, areas = [], []
    for (method, order), values in measured.items():
        kind = "proportion" if np.isin(values, (0, 1)).all() else "share"  # means over draws are shares
        found = statistics.mean_interval(values, seed, kind)
        names = {"method": method, "order": order}
        ends = {"value": found.mean, "low": found.low, "high": found.high, "images": found.n}
        curves.append(pl.DataFrame({**names, "removed": removed, **ends}))
        columns = (_published_areas if protocol.deletion_without_ends else _areas)(values, measured["random", order], of, seed)
        if method == "random":  # random orders are the reference
            columns |= dict.fromkeys(("difference", "difference_low", "difference_high"))
        areas.append({**names, **columns, "images": len(values)})
    return pl.concat(curves), pl.DataFrame(areas, infer_schema_length=None)


def differences(frame: pl.DataFrame, removed: list[int], image_tokens: int, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return the differences between the areas of all pairs of methods, paired by image.

    Args:
        frame: rows (method, order, draw, image_id) with the lists `correct` and `probability`.
        removed: numbers of removed tokens.
        image_tokens: number of image tokens.
        protocol: chooses the definition of the area. With `deletion_without_ends`, areas belong to mean curves, so there is no test.
        seed: seed of the resampling and of the permutations.

    Returns:
        rows (measure, order, method, other) with the area of `method` minus that of `other`, low, high, p and images. p is two-sided and
        corrected by Holm's method over all rows.
    """
    of = partial(area, removed=removed, image_tokens=image_tokens, protocol=protocol)
    rows = []
    for measure in MEASURES:
        measured = by_curve(frame, measure)
        for order in ORDERS:
            curves = {method: values for (method, known), values in measured.items() if known == order}
            pairs = (
                _published_pairs(curves, of, seed)
                if protocol.deletion_without_ends
                else paired_differences({method: of(values) for method, values in curves.items()}, protocol, seed)
            )
            rows += [{"measure": measure, "order": order, **pair} for pair in pairs]
    return tested_pairs(rows, protocol, seed)


def _published_pairs(curves: dict[str, np.ndarray], area: Area, seed: int) -> list[dict[str, Any]]:
    """Return the differences between the areas under the mean curves of all pairs of methods, from values [image, step] by method."""
    rows = []
    for method, other in combinations(curves, 2):
        found = _published_areas(curves[method], curves[other], area, seed)
        ends = {name: found[f"difference{end}"] for name, end in (("difference", ""), ("low", "_low"), ("high", "_high"))}
        rows.append({"method": method, "other": other, **ends, "p": math.nan, "images": len(curves[method])})
    return rows


def paired_differences(values: dict[str, np.ndarray], protocol: Protocol, seed: int) -> list[dict[str, Any]]:
    """Return the differences between all pairs of methods, paired by image.

    Args:
        values: [image] by method. An image whose difference is NaN does not enter.
        protocol: number of permutations.
        seed: seed of the resampling and of the permutations. All pairs get the same resamples and the same permutations.

    Returns:
        rows (method, other) with the mean difference, the ends low and high of its 95 % interval, p of a two-sided permutation test (not
        corrected) and the number of images.
    """
    pairs = list(combinations(values, 2))
    if not pairs:
        return []
    paired = np.stack([values[method] - values[other] for method, other in pairs], axis=1)
    found = statistics.mean_interval(paired, seed, "mean")
    p = statistics.paired_permutation_p(np.nan_to_num(paired), protocol.permutations, seed)
    columns = {
        "method": [method for method, _ in pairs],
        "other": [other for _, other in pairs],
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
    }
    table = pl.DataFrame(columns).fill_nan(None).with_columns(p=np.where(found.n > 0, p, np.nan), images=found.n)
    return table.to_dicts()


def tested_pairs(rows: list[dict[str, Any]], protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows of `paired_differences` as a table, with p corrected by Holm's method over all rows."""
    columns = {"order": pl.String} | dict.fromkeys(("difference", "low", "high", "p"), pl.Float64)  # of one image, no interval is known
    table = pl.DataFrame(rows, schema_overrides=columns, infer_schema_length=None)
    origin = [pl.lit(protocol.permutations).alias("permutations"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    return table.with_columns(pl.Series("p", statistics.holm(table["p"].to_numpy())), *origin)


def _areas(correct: np.ndarray, random: np.ndarray, area: Area, seed: int) -> dict[str, float | None]:
    """Return the mean over images of each image's area, and of its difference from the area of random orders, with intervals."""
    own, other = area(correct), area(random)
    found = statistics.row("area", own, seed, "share")
    renamed = {"area": found["area"], "low": found["area_low"], "high": found["area_high"]}
    return {**renamed, **statistics.row("difference", own - other, seed, "mean")}


def _published_areas(correct: np.ndarray, random: np.ndarray, area: Area, seed: int) -> dict[str, float | None]:
    """Return the area under the mean curve divided by its maximum, as published, and its difference from random orders, with intervals."""
    ends = []
    for values in (correct, random):
        mean, draws = statistics.resampled_means(values, np.ones_like(values), seed)
        without = (values.sum(axis=0) - values) / max(1, len(values) - 1)
        ends.append([area(curve)[..., None] for curve in (mean[None], draws, without)])
    (value, draws, without), (others, other_draws, other_without) = ends
    low, high = statistics.bca(value[:, 0], draws, without)
    least, most = statistics.bca((value - others)[:, 0], draws - other_draws, without - other_without)
    columns = {
        "area": value[0],
        "low": low,
        "high": high,
        "difference": (value - others)[0],
        "difference_low": least,
        "difference_high": most,
    }
    return {name: float(part[0]) for name, part in columns.items()}
