"""T4: whether sublayers raise the true class more at class tokens than at context tokens, for every model with masks.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.2. Images are the units of intervals and tests in both
protocols.
"""

import polars as pl

from classlens import statistics
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol
from classlens.vocabulary import SUBLAYERS


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, layer, block): mean of class tokens, mean of context tokens, their difference with 95 % interval, and p.

    The measure is the change rate in per cent. All values use the images that have both kinds of tokens, with equal weight. p is two-sided
    and corrected over blocks by Holm's method.

    In the protocol `paper`, the measure is the mean change of the logit, images weigh by their numbers of tokens, and p is one-sided and
    not corrected.
    """
    paper = protocol.context_difference_of_logits
    frames = []
    for item in series:
        for layer in SUBLAYERS:
            measure = f"{layer}_logit_change" if paper else f"{layer}_change"
            frame = statistics.difference_by_block(item.frame, measure, ("class", "context"), seed, protocol)
            if not protocol.tokens_as_units:
                frame = frame.with_columns(p=pl.Series(statistics.holm(frame["p"].to_numpy())))
            if not paper:
                frame = frame.with_columns(pl.col("class", "context", "difference", "low", "high") * 100)
            measured = frame.select(pl.lit(layer).alias("layer"), pl.lit("logit" if paper else "per cent").alias("unit"), pl.all())
            frames.append(labelled(measured, item))
    return pl.concat(frames).with_columns(permutations=pl.lit(protocol.permutations))
