"""T5: class names of the best-aligned memories of each layer.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.presentation.texts import DIGITS
from classlens.protocol import Protocol

MEMORIES = 3
"""Number of memories per layer and block in the table; its input file has all."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, layer, block, memory) with class names, sorted by the cosine of the value with its first class's embedding."""
    frames = []
    for item in series:
        best = item.frame.sort("cosine", descending=True).group_by("layer", "block", maintain_order=True).head(MEMORIES)
        words = pl.col("class_name").list.join("; ").alias("classes")
        logits = (
            pl.col("logit").list.eval(pl.element().cast(pl.Float64).round_sig_figs(DIGITS).cast(pl.String)).list.join("; ").alias("logits")
        )
        rows = best.sort("layer", "block", "cosine", descending=[False, False, True])
        frames.append(labelled(rows.select("layer", "block", "memory", words, logits, "cosine", "tokens"), item))
    return pl.concat(frames)
