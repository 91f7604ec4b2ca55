"""Deletion curves and the areas under them, from each image's correctness after each removal.

A good map has a large area if the least relevant tokens are removed first, and a small one if the most relevant are. Random orders are the
baseline.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. See docs/analyses/deletion.md.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations

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


def accuracies(frame: pl.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return correctness [image, step] by method and order, as the mean over draws. Random orders stand for both orders.

    Args:
        frame: rows (method, order, draw, image_id) with the list `correct`.
    """
    result = {}
    for (method, order), rows in frame.cast({"method": pl.String, "order": pl.String}).group_by("method", "order", maintain_order=True):
        rows = rows.sort("draw", "image_id")
        values = np.array(rows["correct"].to_list(), np.float64)
        mean = values.reshape(rows["draw"].n_unique(), -1, values.shape[1]).mean(axis=0)
        for name in ORDERS if method == "random" else (str(order),):
            result[str(method), name] = mean
    return result


def tables(frame: pl.DataFrame, removed: list[int], image_tokens: int, protocol: Protocol, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return deletion curves and areas with 95 % intervals over images.

    Args:
        frame: rows (method, order, draw, image_id) with the list `correct`.
        removed: numbers of removed tokens.
        image_tokens: number of image tokens.
        protocol: chooses the definition of the area.
        seed: seed of the resampling, which draws the same images for every curve.

    Returns:
        two tables. The curves have rows (method, order, removed) with accuracy, low, high and images. The areas have rows (method, order)
        with area, low, high, the difference from the area of random orders, difference_low, difference_high and images. Both also have
        resamples, seed and protocol. Accuracies and areas lie between 0 and 1.
    """
    measured = accuracies(frame)
    curves, areas = [], []
    for (method, order), correct in measured.items():
        kind = "proportion" if np.isin(correct, (0, 1)).all() else "share"  # means over draws are shares
        found = statistics.mean_interval(correct, seed, kind)
        names = {"method": method, "order": order}
        curves.append(
            pl.DataFrame({**names, "removed": removed, "accuracy": found.mean, "low": found.low, "high": found.high, "images": found.n})
        )
        measure = _published_areas if protocol.deletion_without_ends else _areas
        columns = measure(
            correct, measured["random", order], partial(area, removed=removed, image_tokens=image_tokens, protocol=protocol), seed
        )
        if method == "random":  # random orders are the reference
            columns |= dict.fromkeys(("difference", "difference_low", "difference_high"))
        areas.append({**names, **columns, "images": len(correct)})
    origin = [pl.lit(statistics.RESAMPLES).alias("resamples"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    return pl.concat(curves).with_columns(origin), pl.DataFrame(areas, infer_schema_length=None).with_columns(origin)


def differences(frame: pl.DataFrame, removed: list[int], image_tokens: int, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return the differences between the areas of all pairs of methods, paired by image.

    Args:
        frame: rows (method, order, draw, image_id) with the list `correct`.
        removed: numbers of removed tokens.
        image_tokens: number of image tokens.
        protocol: chooses the definition of the area. With `deletion_without_ends`, areas belong to mean curves, so there is no test.
        seed: seed of the resampling and of the permutations.

    Returns:
        rows (order, method, other) with the area of `method` minus that of `other`, low, high, p and images. p is two-sided and corrected
        by Holm's method over all pairs and both orders.
    """
    measured = accuracies(frame)
    of = partial(area, removed=removed, image_tokens=image_tokens, protocol=protocol)
    rows = []
    for order in ORDERS:
        methods = [method for method, known in measured if known == order]
        for method, other in combinations(methods, 2):
            pair = (measured[method, order], measured[other, order])
            found = (_published_areas if protocol.deletion_without_ends else _areas)(*pair, of, seed)
            p = np.nan
            if not protocol.deletion_without_ends:
                p = statistics.paired_permutation_p((of(pair[0]) - of(pair[1]))[:, None], protocol.permutations, seed)[0]
            columns = {name: found[f"difference{end}"] for name, end in (("difference", ""), ("low", "_low"), ("high", "_high"))}
            rows.append({"order": order, "method": method, "other": other, **columns, "p": float(p), "images": len(pair[0])})
    floats = dict.fromkeys(("difference", "low", "high", "p"), pl.Float64)  # of one image, no interval is known
    table = pl.DataFrame(rows, schema_overrides=floats, infer_schema_length=None)
    origin = [pl.lit(protocol.permutations).alias("permutations"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    return table.with_columns(pl.Series("p", statistics.holm(table["p"].to_numpy())), *origin)


Area = Callable[[np.ndarray], np.ndarray]
"""Function from curves [..., step] to the areas [...] under them."""


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
