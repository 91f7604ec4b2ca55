"""Confidence intervals and significance tests, with images as the units.

Images have equal weights, so that an estimate, its interval and its test describe the same quantity over the same images. In the protocol
`paper`, comparisons of class and context tokens give tokens equal weights instead. Intervals resample images in both protocols, because
tokens of one image are not independent. See docs/statistics.md for the tests and for the coverage of the intervals.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri, stdtr

from classlens.protocol import Protocol

RESAMPLES = 2000
LEVEL = 0.95
SIGNIFICANT = 0.05
ROWS_AT_ONCE = 500

OFF_BOUND = 10
"""Smallest number of images off the nearer bound (0 or 1) at which a mean of shares gets the bootstrap interval.

With fewer such images, the bootstrap interval is too narrow, and Wilson's interval replaces it. Images count by their distance from the
bound, as Kish's effective number: two images at the other bound count as two, even if many others lie slightly off the nearer bound. With a
plain count, the coverage of such mixtures fell to 91 %."""

KEPT_IMAGES = 2**16 - 1
"""Largest number of images whose resamples are kept in memory, as uint16: up to 262 MB."""

KINDS = ("proportion", "share", "mean")

ROUNDING = 1e-9
"""Numbers count as equal if they differ by less than this part of the largest: sums of the same values differ by rounding."""


@dataclass(frozen=True)
class MeanInterval:
    """Means over images, with 95 % intervals.

    Attributes:
        mean: [column]; NaN if no image enters.
        low: lower end of the interval, [column]; NaN without an interval.
        high: upper end of the interval, [column]; NaN without an interval.
        n: number of images that enter, [column].
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray

    def scaled(self, factor: float) -> "MeanInterval":
        """Return means and intervals in another unit, such as per cent."""
        return MeanInterval(self.mean * factor, self.low * factor, self.high * factor, self.n)


def mean_interval(values: np.ndarray, seed: int, kind: str = "share") -> MeanInterval:
    """Return the mean of each column over images, with its 95 % interval and its number of images.

    A proportion gets Wilson's interval. A mean of shares gets the BCa bootstrap interval, or Wilson's if fewer than `OFF_BOUND` images lie
    off the nearer bound: resamples then hardly vary, and the bootstrap interval is too narrow. Any other mean gets the BCa bootstrap
    interval, or none if all values are equal, because equal values say nothing about the spread. A single image gets no interval.

    Args:
        values: [image, column]; NaN if an image does not enter.
        seed: seed of the resampling; equal seeds resample the same images.
        kind: `proportion` of values that are 0 or 1, `share` for values from 0 to 1, or any other `mean`.
    """
    enters = ~np.isnan(values)
    n = enters.sum(axis=0)
    mean, draws = resampled_means(values, enters.astype(np.float64), seed)
    low, high = wilson(mean, n)
    if kind != "proportion":
        off = _effective_number(np.where(mean >= 0.5, 1 - values, values))
        spread = np.nanmax(values, axis=0, initial=-np.inf) - np.nanmin(values, axis=0, initial=np.inf)
        varies = spread > _rounding(values)
        resampled = bca(mean, draws, _without_each(values, enters.astype(np.float64)))
        chosen = off >= OFF_BOUND - ROUNDING if kind == "share" else varies
        blank = np.full_like(mean, np.nan)
        low, high = (np.where(chosen, ours, blank if kind == "mean" else end) for ours, end in zip(resampled, (low, high), strict=True))
    return MeanInterval(mean, np.where(n > 1, low, np.nan), np.where(n > 1, high, np.nan), n)


def _rounding(values: np.ndarray) -> np.ndarray:
    """Return by how much equal values [value, column] may differ through rounding, [column]."""
    return ROUNDING * np.nanmax(np.abs(values), axis=0, initial=0)


def _effective_number(distances: np.ndarray) -> np.ndarray:
    """Return Kish's effective number of the non-zero distances [image, column]. For n equal distances, it is n."""
    total, squares = np.nansum(distances, axis=0), np.nansum(distances**2, axis=0)
    return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)


def row(name: str, values: np.ndarray, seed: int, kind: str, factor: float = 1) -> dict[str, float | None]:
    """Return the mean and the interval of one measure as table columns `name`, `name_low` and `name_high`.

    Args:
        name: name of the measure.
        values: [image].
        seed: see `mean_interval`.
        kind: see `mean_interval`.
        factor: factor for the mean and both ends, such as 100 for per cent.
    """
    found = mean_interval(values[:, None], seed, kind).scaled(factor)
    return {column: _cell(part[0]) for column, part in ((name, found.mean), (f"{name}_low", found.low), (f"{name}_high", found.high))}


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def wilson(mean: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of Wilson's 95 % interval of a proportion.

    Args:
        mean: share of successes, any shape.
        n: number of trials, same shape.

    Source: Wilson, Journal of the American Statistical Association 22, 1927.
    """
    z = ndtri((1 + LEVEL) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    return (centre - half).clip(0, 1), (centre + half).clip(0, 1)


def bca(estimate: np.ndarray, draws: np.ndarray, jackknife: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the bias-corrected and accelerated 95 % bootstrap interval, each [column].

    Args:
        estimate: estimate from all images, [column].
        draws: estimates from resampled images, [resample, column]; NaN if a resample has no estimate.
        jackknife: estimates without each image in turn, [image, column]; NaN if an image does not enter.

    Source: Efron, Journal of the American Statistical Association 82, 1987.
    """
    ordered = np.sort(draws, axis=0)  # NaN comes last
    count = (~np.isnan(draws)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slack = _rounding(draws)
        below = ((draws < estimate - slack).sum(axis=0) + 0.5 * (np.abs(draws - estimate) <= slack).sum(axis=0)) / count
        bias = ndtri(below.clip(1 / (count + 1), count / (count + 1)))
        deviation = np.nansum(jackknife, axis=0) / (~np.isnan(jackknife)).sum(axis=0) - jackknife
        acceleration = np.nansum(deviation**3, axis=0) / (6 * np.nansum(deviation**2, axis=0) ** 1.5)
        acceleration = np.nan_to_num(acceleration)
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + ndtri(tail)
        place = ndtr(bias + z / (1 - acceleration * z)) * (count - 1)
        ends.append(_interpolated(ordered, place))
    return ends[0], ends[1]


def _interpolated(ordered: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the interpolated value at a fractional row of each column; NaN if the column has no values."""
    place = np.nan_to_num(place).clip(0, len(ordered) - 1)
    below, above = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    columns = np.arange(ordered.shape[1])
    return ordered[below, columns] + (place - below) * (ordered[above, columns] - ordered[below, columns])


def _without_each(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted means of columns without each image in turn, [image, column]; NaN for images of weight 0."""
    products = np.where(weights > 0, values, 0) * weights
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (products.sum(axis=0) - products) / (weights.sum(axis=0) - weights)
    return np.where(weights > 0, means, np.nan)


def weighted_interval(values: np.ndarray, weights: np.ndarray, seed: int) -> MeanInterval:
    """Return weighted means of columns over images with BCa intervals; images of weight 0 do not enter (`resampled_means`)."""
    mean, draws = resampled_means(values, weights, seed)
    return MeanInterval(mean, *bca(mean, draws, _without_each(values, weights)), (weights > 0).sum(axis=0))


def resampled_means(values: np.ndarray, weights: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means of columns over all rows (images), and over resampled rows. Equal seeds resample the same rows.

    Args:
        values: [image, column]; entries of weight 0 are ignored.
        weights: non-negative, [image, column].
        seed: seed of the resampling.

    Returns:
        means [column] and resampled means [resample, column]; NaN if all weights are 0.
    """
    products = np.where(weights > 0, values, 0) * weights
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = [counts @ products / (counts @ weights) for counts in _resamples(len(values), seed)]
        return products.sum(axis=0) / weights.sum(axis=0), np.concatenate(draws)


def _resamples(images: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each resample holds each image, float64 [resample, image], some resamples at a time."""
    drawn = _kept_resamples(images, seed) if images <= KEPT_IMAGES else _drawn_resamples(images, seed)
    return (counts.astype(np.float64) for counts in drawn)


@lru_cache(maxsize=1)
def _kept_resamples(images: int, seed: int) -> list[np.ndarray]:
    """Return the resamples in memory: most analyses compare many means over the same images, and drawing takes longest."""
    return [counts.astype(np.uint16) for counts in _drawn_resamples(images, seed)]


def _drawn_resamples(images: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    return (rng.multinomial(images, np.full(images, 1 / images), size=ROWS_AT_ONCE) for _ in range(0, RESAMPLES, ROWS_AT_ONCE))


def by_block(frame: pl.DataFrame, measure: str, seed: int, kind: str, tokens_weigh_alike: bool = False) -> pl.DataFrame:
    """Return the mean of a measure for each token group and block, with its interval over images.

    Args:
        frame: rows (tokens, image_id, block) with n and the measure, as written by the analyses.
        measure: column to average.
        seed: seed of the resampling.
        kind: see `mean_interval`.
        tokens_weigh_alike: weight images by their number of tokens instead of equally.

    Returns:
        columns tokens, block, mean, low, high and images (number of images with such tokens), sorted by tokens and block.
    """
    parts = []
    for (tokens,), group in frame.drop_nulls(measure).group_by("tokens", maintain_order=True):
        values = matrix(group, measure)
        found = (
            weighted_interval(values, np.nan_to_num(matrix(group, "n")), seed) if tokens_weigh_alike else mean_interval(values, seed, kind)
        )
        columns = {"mean": found.mean, "low": found.low, "high": found.high, "images": found.n}
        parts.append(pl.DataFrame({"tokens": tokens, "block": group["block"].unique().sort(), **columns}))
    return pl.concat(parts).sort("tokens", "block")


def difference_by_block(frame: pl.DataFrame, measure: str, groups: tuple[str, str], seed: int, protocol: Protocol) -> pl.DataFrame:
    """Return the difference between two token groups in each block, with interval and test over the images that have both groups.

    Args:
        frame: rows (tokens, image_id, block) with n and the measure.
        measure: column to compare.
        groups: names of the two groups; the second is subtracted.
        seed: seed of resampling and permutations.
        protocol: `tokens_weigh_alike` weights images by their number of tokens, and tests one-sidedly whether the first group is larger.

    Returns:
        columns block, one per group (its mean over these images), difference, low, high, p and images. p is not corrected for the number of
        blocks.
    """
    parts = [frame.filter(tokens=name) for name in groups]
    values = [matrix(part, measure) for part in parts]
    both = ~np.isnan(values[0] - values[1])
    paired = np.where(both, values[0] - values[1], np.nan)
    if protocol.tokens_weigh_alike:
        weights = [np.where(np.isnan(value), 0, matrix(part, "n")) for value, part in zip(values, parts, strict=True)]
        means, found = _weighted_difference(values, weights, seed)
    else:
        means = [mean_interval(np.where(both, value, np.nan), seed).mean for value in values]
        found = mean_interval(paired, seed, "mean")
    p = paired_permutation_p(np.nan_to_num(paired), protocol.permutations, seed, two_sided=not protocol.tokens_weigh_alike)
    columns = {
        groups[0]: means[0],
        groups[1]: means[1],
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "p": np.where(both.any(axis=0), p, np.nan),
        "images": both.sum(axis=0),
    }
    return pl.DataFrame({"block": parts[0]["block"].unique().sort(), **columns})


def weighted_difference(values: np.ndarray, weights: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the difference between the weighted means of two columns [image, 2], and the ends of its interval."""
    _, found = _weighted_difference([values[:, :1], values[:, 1:]], [weights[:, :1], weights[:, 1:]], seed)
    return float(found.mean[0]), float(found.low[0]), float(found.high[0])


def _weighted_difference(values: list[np.ndarray], weights: list[np.ndarray], seed: int) -> tuple[list[np.ndarray], MeanInterval]:
    """Return the weighted means of two groups, and their difference with its interval."""
    means, draws = zip(*(resampled_means(value, weight, seed) for value, weight in zip(values, weights, strict=True)), strict=True)
    left = [_without_each(value, weight) for value, weight in zip(values, weights, strict=True)]
    ends = bca(means[0] - means[1], draws[0] - draws[1], left[0] - left[1])
    return list(means), MeanInterval(means[0] - means[1], *ends, (weights[0] > 0).sum(axis=0))


def split_difference(values: np.ndarray, first: np.ndarray, protocol: Protocol, seed: int) -> dict[str, np.ndarray]:
    """Return the difference between the means of two sets of images, with its interval and a permutation test.

    Args:
        values: [image, column].
        first: True for images of the first set, bool [image]. The mean of the other images is subtracted.
        protocol: sets the number of permutations. With `tokens_as_units`, p is the share of permutations with a strictly larger difference.
        seed: seed of resampling and permutations.

    Returns:
        difference, low, high and p, each [column]; NaN where a set is empty.
    """
    if first.all() or not first.any():
        return {name: np.full(values.shape[1], np.nan) for name in ("difference", "low", "high", "p")}
    inside = np.repeat(first[:, None], values.shape[1], axis=1).astype(np.float64)
    means, draws = zip(*(resampled_means(values, weights, seed) for weights in (inside, 1 - inside)), strict=True)
    left = [_without_each(values, weights) for weights in (inside, 1 - inside)]
    jackknife = np.where(first[:, None], left[0] - means[1], means[0] - left[1])
    low, high = bca(means[0] - means[1], draws[0] - draws[1], jackknife)
    if min(first.sum(), (~first).sum()) < 2:  # one image says nothing about the spread
        low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
    return {"difference": means[0] - means[1], "low": low, "high": high, "p": _exchange_p(values, first, protocol, seed)}


def _exchange_p(values: np.ndarray, first: np.ndarray, protocol: Protocol, seed: int) -> np.ndarray:
    """Return p values of the difference between two sets, [column], from random exchanges of images between the sets."""
    rng = np.random.default_rng(seed)
    total, size = values.sum(axis=0), int(first.sum())

    def difference(drawn: np.ndarray) -> np.ndarray:
        return drawn / size - (total - drawn) / (len(values) - size)

    observed = difference(values[first].sum(axis=0))
    slack = ROUNDING * np.abs(values).sum(axis=0) / size
    as_large = np.zeros(values.shape[1], np.int64)
    for _ in range(protocol.permutations):
        drawn = difference(values[rng.permutation(len(values))[:size]].sum(axis=0))
        as_large += drawn > observed if protocol.tokens_as_units else np.abs(drawn) >= np.abs(observed) - slack
    return as_large / protocol.permutations if protocol.tokens_as_units else (as_large + 1) / (protocol.permutations + 1)


def matrix(frame: pl.DataFrame, measure: str) -> np.ndarray:
    """Return a measure of one token group as [image, block]; NaN if an image has no value."""
    wide = frame.sort("image_id", "block").pivot("block", index="image_id", values=measure).drop("image_id")
    return wide.select(str(block) for block in frame["block"].unique().sort()).to_numpy().astype(np.float64)


def paired_permutation_p(differences: np.ndarray, permutations: int, seed: int, two_sided: bool = True) -> np.ndarray:
    """Return p values of paired differences, p = (b + 1) / (n + 1), where b of n random sign patterns give at least the observed sum.

    Args:
        differences: [image, column]; 0 if an image does not enter.
        permutations: number n of random sign patterns. A pattern flips the signs of some images' differences.
        seed: seed of the patterns.
        two_sided: compare absolute sums; otherwise, compare signed sums.

    Returns:
        [column].
    """
    rng = np.random.default_rng(seed)
    observed = differences.sum(axis=0)
    as_large = np.zeros(differences.shape[1], np.int64)
    slack = ROUNDING * np.abs(differences).sum(axis=0)
    for start in range(0, permutations, ROWS_AT_ONCE):
        signs = rng.integers(0, 2, size=(min(ROWS_AT_ONCE, permutations - start), len(differences))) * 2.0 - 1
        drawn = signs @ differences
        as_large += (np.abs(drawn) >= np.abs(observed) - slack if two_sided else drawn >= observed - slack).sum(axis=0)
    return (as_large + 1) / (permutations + 1)


def token_permutation_p(counts: np.ndarray, other: np.ndarray, permutations: int, seed: int) -> float:
    """Return p of the published test: the share of token permutations with a mean rank difference strictly larger than observed.

    A random exchange of tokens between the two groups is a draw without replacement from all ranks, so the counts of ranks are sufficient.

    Args:
        counts: how often each rank occurs in the group that should rank better, [class].
        other: how often each rank occurs in the other group, [class].
        permutations: number of permutations.
        seed: seed of the permutations.
    """
    ranks = np.arange(len(counts))
    total, size, rest = counts + other, counts.sum(), other.sum()

    def advantage(drawn: np.ndarray) -> np.ndarray:
        return (total - drawn) @ ranks / rest - drawn @ ranks / size

    draws = np.random.default_rng(seed).multivariate_hypergeometric(total, size, size=permutations, method="marginals")
    return float((advantage(draws) > advantage(counts)).mean())


def holm(p: np.ndarray) -> np.ndarray:
    """Return a family of p values, corrected by Holm's method.

    A corrected p value is the smallest level at which the method rejects the hypothesis. NaN stays NaN and does not count as a test.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    result = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested])]
    result[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return result


def against_twins(model_mean: np.ndarray, twin_means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return t and p of a test of a model's means against those of its random twins, as if the model were one more twin.

    Twins differ far more by their weights than by images, so a test over images alone would find two random models different. The model is
    therefore compared with the spread of the twins' means: t = (m - mean of twins) / (s sqrt(1 + 1/k)), with s the standard deviation of
    the k twins' means.

    Args:
        model_mean: mean of the model in each column (block), [column].
        twin_means: means of the k twins, [twin, column].

    Returns:
        t, and p of the two-sided test with k - 1 degrees of freedom, each [column]. p is not corrected for the number of columns. Both are
        NaN for fewer than two twins, and in columns where all twins have the same mean.
    """
    seeds = len(twin_means)
    if seeds < 2:
        return np.full(len(model_mean), np.nan), np.full(len(model_mean), np.nan)
    difference = model_mean - twin_means.mean(axis=0)
    error = twin_means.std(axis=0, ddof=1) * np.sqrt(1 + 1 / seeds)
    t = np.divide(difference, error, out=np.full(len(model_mean), np.nan), where=error > 1e-12)
    return t, 2 * stdtr(seeds - 1, -np.abs(t))
