"""F10: share of tokens at which a layer's top class is the top class of one of the token's active memories.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3. At the other tokens, several memories compose the class.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.figures import curves
from classlens.presentation.series import Inputs, Series
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, layer, tokens, block) in per cent, with tokens `all` and `cls`; see `curves.layer_rates`."""
    return curves.layer_rates(series, inputs["chance"], "composition", protocol, seed)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per model and kind of tokens, a line per layer."""
    return curves.draw_layer_rates(frame, width, "compositionality (% of tokens)")
