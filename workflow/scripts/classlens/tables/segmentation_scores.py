"""T7: how well each relevance map finds the object.

Not in the paper.
"""

import polars as pl

from classlens import statistics
from classlens.analyses import segmentation_scores
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method): pixel accuracy, mIoU, average precision, pointing game, and share of positive relevance on the object.

    All values are in per cent with 95 % intervals over images.
    """
    frames = [labelled(segmentation_scores.scores(item.frame, seed), item) for item in series]
    return pl.concat(frames, how="vertical_relaxed").with_columns(resamples=pl.lit(statistics.RESAMPLES))
