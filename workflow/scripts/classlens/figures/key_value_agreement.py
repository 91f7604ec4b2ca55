"""F7: share of tokens that use a memory which stands for the image's class, for all models.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3; methods, section 5.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.figures import curves
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, layer, tokens, block), tokens `all` and `cls`, in per cent with 95 % intervals over images."""
    return curves.layer_rates(series, seed)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """A panel per model, a line per layer, [CLS] dashed."""
    return curves.draw_layer_rates(frame, width, "key-value agreement (% of tokens)")
