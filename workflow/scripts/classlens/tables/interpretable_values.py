"""T5: the classes that memories stand for, of the most aligned memories of each layer.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3; methods, section 5.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

MEMORIES = 3
"""Memories of each layer in the table; the file that it is made from has all."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, layer, block, memory), by the cosine of the value with the embedding of its first class, with classes in words."""
    frames = []
    for item in series:
        best = item.frame.sort("cosine", descending=True).group_by("layer", "block", maintain_order=True).head(MEMORIES)
        words = pl.col("class_name").list.join("; ").alias("classes")
        logits = pl.col("logit").list.eval(pl.element().round(3).cast(pl.String)).list.join("; ").alias("logits")
        rows = best.sort("layer", "block", "cosine", descending=[False, False, True])
        frames.append(labelled(rows.select("layer", "block", "memory", words, logits, "cosine", "tokens"), item))
    return pl.concat(frames)
