"""Intervals and significance tests, with images as the units that vary.

Methods, section 11. A mean over tokens is a mean over images weighted by their number of tokens, so that both protocols estimate the same
quantity; the intervals resample images in both, since tokens of one image are not independent.
"""

import numpy as np
import polars as pl
from scipy.stats import t as student_t

from classlens.protocol import Protocol

RESAMPLES = 2000
LEVEL = 0.95
SIGNIFICANT = 0.05
ROWS_AT_ONCE = 500


def resampled_means(values: np.ndarray, weights: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means of columns, and the same of resampled rows (images); equal seeds resample the same rows.

    Args:
        values: [image, column]; entries of weight 0 are not looked at.
        weights: [image, column], not negative.
        seed: seed of the resampling.

    Returns:
        means [column] and resampled means [resample, column]; NaN where nothing has weight.
    """
    products = np.where(weights > 0, values, 0) * weights
    rng = np.random.default_rng(seed)
    images = len(values)
    draws = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(0, RESAMPLES, ROWS_AT_ONCE):
            counts = rng.multinomial(images, np.full(images, 1 / images), size=ROWS_AT_ONCE).astype(np.float64)
            draws.append(counts @ products / (counts @ weights))
        return products.sum(axis=0) / weights.sum(axis=0), np.concatenate(draws)


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile interval of resampled values [resample, column], each [column]."""
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def by_block(frame: pl.DataFrame, measure: str, seed: int) -> pl.DataFrame:
    """Mean of a measure over tokens, for each group of tokens and block, with its interval over images.

    Args:
        frame: rows (tokens, image_id, block) with n and the measure, as the analyses write them.
        measure: column to average.
        seed: seed of the resampling.

    Returns:
        columns tokens, block, mean, low, high and images (those that have such tokens), sorted by tokens and block.
    """
    parts = []
    for (tokens,), group in frame.drop_nulls(measure).group_by("tokens", maintain_order=True):
        values, weights = matrix(group, measure), np.nan_to_num(matrix(group, "n"))
        mean, draws = resampled_means(values, weights, seed)
        low, high = interval(draws)
        columns = {"mean": mean, "low": low, "high": high, "images": (weights > 0).sum(axis=0)}
        parts.append(pl.DataFrame({"tokens": tokens, "block": group["block"].unique().sort(), **columns}))
    return pl.concat(parts).sort("tokens", "block")


def difference_by_block(frame: pl.DataFrame, measure: str, groups: tuple[str, str], seed: int, permutations: int) -> pl.DataFrame:
    """Difference between the means of two groups of tokens in each block, with interval and one-sided test over images.

    Args:
        frame: rows (tokens, image_id, block) with n and the measure.
        measure: column to average.
        groups: the group that should be larger, and the other.
        seed: seed of resampling and permutations.
        permutations: see `paired_permutation_p`, which sees the images that have tokens of both groups.

    Returns:
        columns block, one per group (its mean), difference, low, high, p, images; not corrected for the number of blocks.
    """
    parts = [frame.filter(tokens=name) for name in groups]
    values = [matrix(part, measure) for part in parts]
    weights = [np.where(np.isnan(value), 0, matrix(part, "n")) for value, part in zip(values, parts, strict=True)]
    (first, first_draws), (second, second_draws) = (
        resampled_means(value, weight, seed) for value, weight in zip(values, weights, strict=True)
    )
    low, high = interval(first_draws - second_draws)
    both = (weights[0] > 0) & (weights[1] > 0)
    p = paired_permutation_p(np.where(both, values[0] - values[1], 0), permutations, seed)
    columns = {
        groups[0]: first,
        groups[1]: second,
        "difference": first - second,
        "low": low,
        "high": high,
        "p": p,
        "images": both.sum(axis=0),
    }
    return pl.DataFrame({"block": parts[0]["block"].unique().sort(), **columns})


def split_difference(values: np.ndarray, first: np.ndarray, protocol: Protocol, seed: int) -> dict[str, np.ndarray]:
    """Difference between the means of two sets of images, with interval and one-sided test that exchanges images between the sets.

    Args:
        values: [image, column].
        first: which images are in the set that should be larger, bool [image]; the others are in the other.
        protocol: the number of permutations, and whether p is the share of strictly larger differences.
        seed: seed of resampling and permutations.

    Returns:
        difference, low, high and p, each [column]; NaN where a set is empty.
    """
    if first.all() or not first.any():
        return {name: np.full(values.shape[1], np.nan) for name in ("difference", "low", "high", "p")}
    inside = np.repeat(first[:, None], values.shape[1], axis=1).astype(np.float64)
    means, draws = zip(*(resampled_means(values, weights, seed) for weights in (inside, 1 - inside)), strict=True)
    low, high = interval(draws[0] - draws[1])
    rng = np.random.default_rng(seed)
    observed, total, size = means[0] - means[1], values.sum(axis=0), int(first.sum())
    as_large = np.zeros(values.shape[1], np.int64)
    for _ in range(protocol.permutations):
        drawn = values[rng.permutation(len(values))[:size]].sum(axis=0)
        difference = drawn / size - (total - drawn) / (len(values) - size)
        as_large += difference > observed if protocol.tokens_as_units else difference >= observed
    p = as_large / protocol.permutations if protocol.tokens_as_units else (as_large + 1) / (protocol.permutations + 1)
    return {"difference": observed, "low": low, "high": high, "p": p}


def matrix(frame: pl.DataFrame, measure: str) -> np.ndarray:
    """A measure of one group of tokens as [image, block], NaN where an image has none."""
    wide = frame.sort("image_id", "block").pivot("block", index="image_id", values=measure).drop("image_id")
    return wide.select(str(block) for block in frame["block"].unique().sort()).to_numpy().astype(np.float64)


def paired_permutation_p(differences: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """One-sided p of paired differences by flipping their signs image by image: p = (b + 1) / (n + 1).

    Args:
        differences: [image, column], larger where the hypothesis is right.
        permutations: number n of random sign patterns.
        seed: seed of the patterns.

    Returns:
        [column].
    """
    rng = np.random.default_rng(seed)
    observed = differences.sum(axis=0)
    as_large = np.zeros(differences.shape[1], np.int64)
    slack = 1e-9 * np.abs(differences).sum(axis=0)  # equal sums in another order must count as equal
    for start in range(0, permutations, ROWS_AT_ONCE):
        signs = rng.integers(0, 2, size=(min(ROWS_AT_ONCE, permutations - start), len(differences))) * 2.0 - 1
        as_large += (signs @ differences >= observed - slack).sum(axis=0)
    return (as_large + 1) / (permutations + 1)


def token_permutation_p(counts: np.ndarray, other: np.ndarray, permutations: int, seed: int) -> float:
    """The published test: share of permutations of all tokens in which the mean rank difference is strictly larger than observed.

    Exchanging tokens at random between the two groups draws a sub-multiset of all ranks, so that the counts of ranks suffice.

    Args:
        counts: how often each rank occurs in the group that should rank better, [class].
        other: the same of the other group.
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
    """Holm's correction of a family of p values: each the smallest level at which its hypothesis is rejected."""
    order = np.argsort(p)
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    result = np.empty_like(corrected)
    result[order] = corrected
    return result


def against_twins(model_mean: np.ndarray, twin_means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test a model's means against those of its random twins, as if the model was one more twin.

    Twins differ by their weights far more than by images: a test over images alone finds two random models different. The model is
    compared with the spread of the twins' means instead, t = (m - mean of twins) / (s sqrt(1 + 1/k)), where s is their standard deviation.

    Args:
        model_mean: the model's mean of each column (block), [column].
        twin_means: that of each of k twins, [twin, column].

    Returns:
        t, and p of the two-sided test with k - 1 degrees of freedom, each [column], p not corrected for their number. Both are NaN for
        fewer than two twins. Where all twins have one mean, p is 1 for a model with the same mean and 0 for any other.
    """
    seeds = len(twin_means)
    if seeds < 2:
        return np.full(len(model_mean), np.nan), np.full(len(model_mean), np.nan)
    difference = model_mean - twin_means.mean(axis=0)
    error = twin_means.std(axis=0, ddof=1) * np.sqrt(1 + 1 / seeds)
    equal = np.isclose(difference, 0, rtol=0, atol=1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(equal, 0, difference / error)
    return t, 2 * student_t.sf(np.abs(t), seeds - 1)
