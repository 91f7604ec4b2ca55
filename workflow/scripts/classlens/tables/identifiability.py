"""T1: identifiability rate, images with at least one identifiable token, and accuracy of every model.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 2.
"""

import numpy as np
import polars as pl

from classlens import statistics
from classlens.measures import chance
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series, labelled


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return one row per model, in per cent with 95 % intervals over images.

    Args:
        series: models and twins.
        inputs: `predictions`.
        protocol: not used: both have the same definition.
        seed: seed of the resampling.

    Returns:
        identifiability_rate (image tokens of the last block whose class ranks first, averaged over images), images_with_one, accuracy,
        the mean class identifiability of the same tokens, and what chance would give for it.
    """
    rows = []
    for item, predictions in zip(series, inputs["predictions"], strict=True):
        last = item.frame.filter(tokens="image", block=item.depth - 1).sort("image_id")
        first, correct = last["first"].to_numpy(), pl.DataFrame(predictions).sort("image_id")["correct"].to_numpy()
        row: dict[str, float | None] = {}
        measures = {
            "identifiability_rate": (first, "share"),
            "images_with_one": (first > 0, "proportion"),
            "accuracy": (correct, "proportion"),
            "class_identifiability": (last["identifiability"].to_numpy(), "share"),
        }
        for name, (values, kind) in measures.items():
            row |= statistics.row(name, values.astype(np.float64), seed, kind, 100)
        row |= {"chance": 100 * chance(item.classes), "classes": item.classes, "images": len(last)}
        rows.append(labelled(pl.DataFrame([row]), item))
    return pl.concat(rows).with_columns(resamples=pl.lit(statistics.RESAMPLES))
