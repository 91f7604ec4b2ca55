"""Deletion curves and the areas under them, from the correctness of every image after every removal.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5; methods, section 9.
"""

import numpy as np
import polars as pl

from classlens import statistics
from classlens.protocol import Protocol
from classlens.relevance_table import ORDERS


def area(accuracy: np.ndarray, removed: list[int], image_tokens: int, protocol: Protocol) -> np.ndarray:
    """Area under curves of accuracy, [...].

    Args:
        accuracy: after each number of removals, [..., step].
        removed: numbers of removed tokens, [step].
        image_tokens: number N of image tokens.
        protocol: `deletion_without_ends` takes the sum over the N - 1 steps, divided by N and by the curve's maximum, otherwise it is the
            trapezoid area over the removed fraction, per unit of fraction.
    """
    if protocol.deletion_without_ends:
        return accuracy.mean(axis=-1) * (image_tokens - 1) / (image_tokens * accuracy.max(axis=-1))
    fraction = np.asarray(removed) / image_tokens
    return np.trapezoid(accuracy, fraction, axis=-1) / (fraction[-1] - fraction[0])


def accuracies(frame: pl.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Correctness [image, step] by method and order, the mean over draws of random orders, which stand for both orders.

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
    """Curves and areas with 95 % intervals over images.

    Args:
        frame: rows (method, order, draw, image_id) with the list `correct`.
        removed: numbers of removed tokens.
        image_tokens: number of image tokens.
        protocol: settles the area.
        seed: seed of the resampling, which draws the same images for every curve.

    Returns:
        rows (method, order, removed) with accuracy, low, high and images;
        rows (method, order) with area, low, high, and its difference from the area of random orders with difference_low and
        difference_high, images, resamples and seed. Accuracies and areas lie between 0 and 1.
    """
    curves, areas = [], []
    resampled: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, int]] = {}
    for key, correct in accuracies(frame).items():
        mean, draws = statistics.resampled_means(correct, np.ones_like(correct), seed)
        low, high = statistics.interval(draws)
        names = {"method": key[0], "order": key[1]}
        curves.append(pl.DataFrame({**names, "removed": removed, "accuracy": mean, "low": low, "high": high, "images": len(correct)}))
        of_mean, of_draws = (area(values, removed, image_tokens, protocol) for values in (mean, draws))
        resampled[key] = of_mean, of_draws, len(correct)
    for (method, order), (value, draws, images) in resampled.items():
        random, random_draws, _ = resampled["random", order]
        (low, high), (least, most) = (statistics.interval(values[:, None]) for values in (draws, draws - random_draws))
        areas.append(
            {
                "method": method,
                "order": order,
                "area": value,
                "low": low[0],
                "high": high[0],
                "difference": value - random,
                "difference_low": least[0],
                "difference_high": most[0],
                "images": images,
            }
        )
    columns = [pl.lit(statistics.RESAMPLES).alias("resamples"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    return pl.concat(curves).with_columns(columns), pl.DataFrame(areas).with_columns(columns)
