"""Rates of identifiable tokens under perturbation, per image.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, sections 6 and 7.
"""

import json

import numpy as np
import polars as pl

from classlens import statistics
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series, labelled


def table(
    series: list[Series], inputs: Inputs, conditions: tuple[str, ...], pooled_baseline: bool, protocol: Protocol, seed: int
) -> pl.DataFrame:
    """Rows (model, condition): identifiability rate of the last block's tokens, of the same unperturbed (baseline), difference, accuracy.

    All in per cent with 95 % intervals over images; p is one-sided, of the baseline being larger, by flipping signs image by image;
    `images_not_run` counts images of which no token was left.

    Args:
        series: perturbations of each model.
        inputs: `accuracy` of each.
        conditions: those to show, where a model has them.
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
    return pl.concat(frames).with_columns(pl.lit(value).alias(name) for name, value in columns.items())


def per_image(item: Series, condition: str, protocol: Protocol) -> pl.DataFrame:
    """Share of tokens of the last block whose class ranks first, under a condition and of the same image tokens unperturbed.

    Args:
        item: a model's perturbations, rows (condition, image_id, token) with rank.
        condition: which.
        protocol: `cls_in_perturbed_rate` counts [CLS] under the condition.

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


def compared(rates: pl.DataFrame, pooled_baseline: bool, protocol: Protocol, seed: int) -> dict[str, float]:
    """Mean rate and baseline in per cent, with intervals over images, their difference, and one-sided p of the baseline being larger.

    Args:
        rates: from `per_image`.
        pooled_baseline: whether the baseline is a mean over tokens instead of over images.
        protocol: the number of permutations.
        seed: seed of resampling and permutations.
    """
    values = rates.select("rate", "baseline").to_numpy().astype(np.float64)
    weights = np.ones_like(values)
    weights[:, 1] = rates["n"].to_numpy() if pooled_baseline else rates["n"].to_numpy() > 0
    mean, draws = statistics.resampled_means(values, weights, seed)
    difference, differences = mean[0] - mean[1], draws[:, :1] - draws[:, 1:]
    row: dict[str, float] = {}
    for name, value, drawn in zip(
        ("rate", "baseline", "difference"), (*mean, difference), (draws[:, :1], draws[:, 1:], differences), strict=True
    ):
        low, high = statistics.interval(drawn)
        row |= {name: 100 * value, f"{name}_low": 100 * low[0], f"{name}_high": 100 * high[0]}
    drop = np.nan_to_num(values[:, 1] - values[:, 0])
    p = statistics.paired_permutation_p(drop[:, None], protocol.permutations, seed)
    return {**row, "p": float(p[0])}


def accuracy(frame: pl.DataFrame, condition: str, seed: int) -> dict[str, float]:
    """Accuracy in per cent with its interval over images, the number of images, and of those that could not be run."""
    rows = frame.cast({"condition": pl.String}).filter(condition=condition).sort("image_id")
    run = rows.drop_nulls("correct")["correct"].to_numpy().astype(np.float64)[:, None]
    mean, draws = statistics.resampled_means(run, np.ones_like(run), seed)
    low, high = statistics.interval(draws)
    counts = {"images": len(run), "images_not_run": len(rows) - len(run)}
    return {"accuracy": 100 * mean[0], "accuracy_low": 100 * low[0], "accuracy_high": 100 * high[0], **counts}
