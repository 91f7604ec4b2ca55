"""T2: what is identified when image tokens attend to themselves alone, or no longer to [CLS].

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 6.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series
from classlens.protocol import Protocol
from classlens.tables import perturbation_rates

CONDITIONS = ("none", "self_only", "no_cls")


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, condition), as `perturbation_rates.table` describes them."""
    return perturbation_rates.table(series, inputs, CONDITIONS, pooled_baseline=False, protocol=protocol, seed=seed)
