"""T8: the tuned lens against the logit lens in every block, paired by image.

Source: Belrose et al., arXiv:2303.08112, 2023.
"""

import numpy as np
import polars as pl

from classlens import statistics
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

MEASURES = {"first": ("share", 100), "identifiability": ("share", 1), "kl": ("mean", 1), "agreement": ("share", 100)}
"""Kind of each measure's mean (`statistics.mean_interval`), and its factor: per cent for shares of tokens."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, tokens, block, measure): logit lens, tuned lens, their difference with its 95 % interval over images, p and n.

    Measures are `first` (tokens whose class ranks first, per cent), `identifiability`, `kl` (divergence from the model's output, nats) and
    `agreement` (tokens whose top class is that of the output, per cent). p is two-sided, from exchanges of the lenses within images, and
    corrected by Holm's method over the blocks of a model, kind of tokens and measure.
    """
    frames = []
    for item in series:
        kinds = item.frame.filter(pl.col("tokens").is_in(["cls", "image"]))
        for (tokens,), group in kinds.group_by("tokens", maintain_order=True):
            frames += [
                labelled(_compared(group, measure, protocol, seed).with_columns(tokens=pl.lit(tokens)), item) for measure in MEASURES
            ]
    columns = ("model", "label", "random", "tokens", "measure", "block")
    return pl.concat(frames).select(*columns, pl.exclude(columns)).with_columns(permutations=pl.lit(protocol.permutations))


def _compared(group: pl.DataFrame, measure: str, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return a row per block for one measure and kind of tokens."""
    kind, factor = MEASURES[measure]
    logit, tuned = (statistics.matrix(group, f"{lens}_{measure}") for lens in ("logit", "tuned"))
    found = statistics.mean_interval(tuned - logit, seed, "mean").scaled(factor)
    enters = ~np.isnan(tuned - logit)
    p = statistics.paired_permutation_p(np.nan_to_num(tuned - logit), protocol.permutations, seed)
    means = {
        f"{lens}_lens": factor * statistics.mean_interval(values, seed, kind).mean for lens, values in (("logit", logit), ("tuned", tuned))
    }
    return pl.DataFrame(
        {
            "measure": measure,
            "block": group["block"].unique().sort(),
            **means,
            "difference": found.mean,
            "difference_low": found.low,
            "difference_high": found.high,
            "p": statistics.holm(np.where(enters.any(axis=0) & (tuned != logit).any(axis=0), p, np.nan)),
            "images": found.n,
        }
    )
