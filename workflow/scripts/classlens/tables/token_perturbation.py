"""T3: what is identified without the context of the object, and without the object.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 7.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series
from classlens.protocol import Protocol
from classlens.tables import perturbation_rates

CONDITIONS = ("without_context", "without_class")


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, condition), as `perturbation_rates.table` describes them."""
    pooled = protocol.cls_in_perturbed_rate
    return perturbation_rates.table(series, inputs, CONDITIONS, pooled_baseline=pooled, protocol=protocol, seed=seed)
