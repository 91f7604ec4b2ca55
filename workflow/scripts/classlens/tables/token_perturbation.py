"""T3: what is identified without the context of the object, and without the object.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 7.
"""

import polars as pl

from classlens import perturbation_rates
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series

CONDITIONS = ("without_context", "without_class")


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, condition), as `perturbation_rates.table` describes them."""
    return perturbation_rates.table(series, inputs, CONDITIONS, protocol.cls_in_perturbed_rate, protocol, seed)
