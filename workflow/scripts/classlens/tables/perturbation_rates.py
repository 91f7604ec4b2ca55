"""Rates of identifiable tokens under perturbation, per image.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import json

import numpy as np
import polars as pl

from classlens import statistics
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def table(
    series: list[Series], inputs: Inputs, conditions: tuple[str, ...], *, pooled_baseline: bool, protocol: Protocol, seed: int
) -> pl.DataFrame:
    """Return rows (model, condition): identifiability rate of the last block's tokens, baseline, their difference, and accuracy.

    The baseline is the rate of the same tokens unperturbed. All values are in per cent with 95 % intervals over images. Rate, baseline,
    difference and p use the same `images_compared`. p is from a two-sided test that flips the sign of each image's difference (protocol
    `paper`: one-sided, for a larger baseline). `images_not_run` counts images with no token left.

    Args:
        series: perturbations of each model.
        inputs: `accuracy` of each model.
        conditions: conditions to show; those that a model lacks are skipped.
        pooled_baseline: see `compared`.
        protocol: see `per_image`.
        seed: seed of resampling and permutations.
    """
    frames = []
    for item, accuracies in zip(series, inputs["accuracy"], strict=True):
        for condition in (name for name in conditions if name in item.frame["condition"].cast(pl.String).unique()):
            row = compared(per_image(item, condition, protocol), pooled_baseline, protocol, seed)
            row |= accuracy(pl.DataFrame(accuracies), condition, seed)
            frames.append(labelled(pl.DataFrame({"condition": condition, **row}), item))
    columns = {"permutations": protocol.permutations, "resamples": statistics.RESAMPLES}
    return pl.concat(frames, how="vertical_relaxed").with_columns(pl.lit(value).alias(name) for name, value in columns.items())


def per_image(item: Series, condition: str, protocol: Protocol) -> pl.DataFrame:
    """Return the share of the last block's tokens whose class ranks first, under a condition and for the same image tokens unperturbed.

    Args:
        item: a model's perturbations, rows (condition, image_id, token) with rank.
        condition: name of the condition.
        protocol: `cls_in_perturbed_rate` also counts [CLS] under the condition.

    Returns:
        rows (image) with rate, baseline and n (image tokens).
    """
    frame = item.frame.cast({"condition": pl.String})
    first = int(item.metadata["prefix_tokens"])
    with_cls = protocol.cls_in_perturbed_rate and json.loads(item.metadata["cls_token"]) and condition != "none"
    identified = (pl.col("rank") == 0).mean()
    tokens = frame.filter(condition=condition)
    counted = tokens.filter((pl.col("token") >= first) | ((pl.col("token") == 0) & with_cls))
    same = frame.filter(pl.col("condition") == "none", pl.col("token") >= first).join(tokens, on=["image_id", "token"], how="semi")
    rates = counted.group_by("image_id").agg(identified.alias("rate"))
    baselines = same.group_by("image_id").agg(identified.alias("baseline"), pl.len().alias("n"))
    return rates.join(baselines, on="image_id", how="left").with_columns(pl.col("n").fill_null(0)).sort("image_id")


def compared(rates: pl.DataFrame, pooled_baseline: bool, protocol: Protocol, seed: int) -> dict[str, float | None]:
    """Return the mean rate, the mean baseline and their difference in per cent, with intervals over images, and p of the difference.

    Args:
        rates: from `per_image`.
        pooled_baseline: whether the baseline is a mean over tokens instead of over images.
        protocol: sets the number of permutations; `tokens_weigh_alike` makes the test one-sided.
        seed: seed of resampling and permutations.
    """
    values = rates.select("rate", "baseline").to_numpy().astype(np.float64)
    drop = values[:, 1] - values[:, 0]
    if pooled_baseline:
        row = _pooled(values, rates["n"].to_numpy(), seed)
    else:
        both = ~np.isnan(drop)
        row = {}
        for name, column, kind in (
            ("rate", values[both, 0], "share"),
            ("baseline", values[both, 1], "share"),
            ("difference", -drop[both], "mean"),
        ):
            row |= statistics.row(name, column, seed, kind, 100)
    p = statistics.paired_permutation_p(
        np.nan_to_num(drop)[:, None], protocol.permutations, seed, two_sided=not protocol.tokens_weigh_alike
    )
    return {**row, "p": float(p[0]), "images_compared": int((~np.isnan(drop)).sum())}


def _pooled(values: np.ndarray, tokens: np.ndarray, seed: int) -> dict[str, float | None]:
    """Return rate, baseline and difference as `compared` does, with the published baseline, a mean over tokens.

    Args:
        values: rate and baseline of each image, [image, 2].
        tokens: number of image tokens of each image, [image].
        seed: seed of the resampling.
    """
    weights = np.stack([np.ones(len(values)), tokens], axis=1)
    found = statistics.weighted_interval(values, weights, seed)
    gap = statistics.weighted_difference(values, weights, seed)
    parts = {
        "rate": (found.mean[0], found.low[0], found.high[0]),
        "baseline": (found.mean[1], found.low[1], found.high[1]),
        "difference": gap,
    }
    ends = ("", "_low", "_high")
    return {f"{name}{end}": 100 * float(value) for name, part in parts.items() for end, value in zip(ends, part, strict=True)}


def accuracy(frame: pl.DataFrame, condition: str, seed: int) -> dict[str, float | None]:
    """Return accuracy in per cent with its interval over images, and the numbers of images that were run and not run."""
    rows = frame.cast({"condition": pl.String}).filter(condition=condition).sort("image_id")
    run = rows.drop_nulls("correct")["correct"].to_numpy().astype(np.float64)
    counts = {"images": len(run), "images_not_run": len(rows) - len(run)}
    return {**statistics.row("accuracy", run, seed, "proportion", 100), **counts}
