"""T2: identifiability rate when image tokens attend only to themselves, or no longer to [CLS].

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series
from classlens.protocol import Protocol
from classlens.tables import perturbation_rates

CONDITIONS = ("none", "self_only", "no_cls")


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, condition); see `perturbation_rates.table`."""
    return perturbation_rates.table(series, inputs, CONDITIONS, pooled_baseline=False, protocol=protocol, seed=seed)
