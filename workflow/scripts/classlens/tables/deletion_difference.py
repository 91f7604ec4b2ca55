"""T6, second part: differences between the areas under the deletion curves of two methods, for all pairs.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5, for the areas.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, measure, order, method, other) with the difference, paired by image, its 95 % interval, and p.

    Measures are the areas under the curves of accuracy and of the probability of the true class, and SaCo, which has no order. p is
    two-sided and corrected by Holm's method over all pairs and orders of the areas, and over all pairs of SaCo; areas in protocol `paper`
    have none.
    """
    frames = []
    for index, item in enumerate(series):
        parts = [item.frame]
        if inputs["faithfulness"]:
            parts.append(pl.DataFrame(inputs["faithfulness"][index]))
        frames.append(labelled(pl.concat(parts).drop("seed", "protocol"), item))
    return pl.concat(frames)
