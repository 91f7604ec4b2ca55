"""F12, beside the deletion curves: whether what relevance maps call more relevant matters more to the output (SaCo).

Source: Wu et al., CVPR 2024.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.figures import canvas, dots
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method): mean coefficient with its 95 % interval over images, and how many images have none."""
    return pl.concat([labelled(item.frame.drop("seed", "protocol"), item) for item in series])


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per method, and a marker per model with its interval."""
    methods = frame["method"].unique(maintain_order=True).to_list()
    figure, (axes,) = canvas.grid_of_panels(1, width, dots.height(frame, methods), 1, least=1.4)
    dots.by_method(axes, frame, "saco", methods)
    dots.name_methods(axes, methods)
    axes.axvline(0, color=canvas.GREY, linewidth=1)
    axes.set_title(f"faithfulness ({canvas.count(frame['saco_n'], 'images')})")
    axes.set_xlabel("SaCo (1: all pairs of groups agree)")
    canvas.legend_below(figure, [axes])
    return figure
