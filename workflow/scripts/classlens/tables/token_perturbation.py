"""T3: identifiability rate without context tokens, and without class tokens.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series
from classlens.protocol import Protocol
from classlens.tables import perturbation_rates

CONDITIONS = ("without_context", "without_class")


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, condition); see `perturbation_rates.table`."""
    pooled = protocol.cls_in_perturbed_rate
    return perturbation_rates.table(series, inputs, CONDITIONS, pooled_baseline=pooled, protocol=protocol, seed=seed)
