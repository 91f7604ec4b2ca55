"""T10: the components whose replacement by their mean costs most, and how much of it later components make up for.

Source: Gandelsman, Efros & Steinhardt, ICLR 2024; McGrath et al., 2023.
"""

import numpy as np
import polars as pl

from classlens import statistics
from classlens.presentation.effects import effects_of
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

SHOWN = 10
"""Number of components of each model."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, component): the components with the largest absolute total effect, the largest first, with 95 % intervals.

    Columns are part, block and head (from 1); by how much the true class's logit is lower without the component, `direct` and `total`;
    `repaired`, the direct minus the total effect, which later components make up for; and the loss of accuracy in percentage points.
    """
    frames = []
    for item in series:
        keys, effects = effects_of(item.frame.cast({"kind": pl.String, "part": pl.String}))
        columns: dict[str, np.ndarray] = {}
        for name, values, factor in (
            ("direct", effects["direct"], 1),
            ("total", effects["total"], 1),
            ("repaired", effects["direct"] - effects["total"], 1),
            ("accuracy_loss", effects["accuracy"], 100),
        ):
            found = statistics.mean_interval(values, seed, "mean").scaled(factor)
            columns |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high, "images": found.n}
        frame = keys.with_columns(**columns).sort(pl.col("total").abs(), descending=True, maintain_order=True).head(SHOWN)
        head = pl.when(pl.col("head") >= 0).then(pl.col("head") + 1).alias("head")
        frames.append(labelled(frame.with_columns(pl.col("block") + 1, head), item))
    return pl.concat(frames).select(pl.exclude("images"), "images")
