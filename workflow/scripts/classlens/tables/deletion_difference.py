"""T6, second part: differences between the areas under the deletion curves of two methods, for all pairs.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5, for the areas.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, order, method, other) with the difference of the areas, paired by image, its 95 % interval, and p.

    p is two-sided and corrected by Holm's method over all pairs and both orders of a model; protocol `paper` has none.
    """
    return pl.concat([labelled(item.frame.drop("seed", "protocol"), item) for item in series])
