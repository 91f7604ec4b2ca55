"""F12, beside the deletion curves: how well each relevance map finds the object.

Not in the paper.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.analyses.segmentation_scores import MEASURES
from classlens.figures import canvas, dots
from classlens.tables.segmentation_scores import data

__all__ = ["data", "draw"]

TITLES = {
    "pixel_accuracy": "pixel accuracy",
    "miou": "mIoU",
    "average_precision": "average precision",
    "pointing_game": "pointing game",
    "positive_share": "positive share",
}


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per measure, a row per method, and a marker per model with its interval."""
    methods = frame["method"].unique(maintain_order=True).to_list()
    figure, panels = canvas.grid_of_panels(len(MEASURES), width, dots.height(frame, methods), 3, share_x=False, least=1.4)
    for axes, measure in zip(panels, MEASURES, strict=True):
        counts = frame[f"{measure}_n"]
        dots.by_method(axes, frame, measure, methods)
        axes.set_title(f"{TITLES[measure]} ({canvas.count(counts.filter(counts > 0), 'images')})")
        axes.set_xlabel("%")
    dots.name_methods(panels[0], methods)
    canvas.legend_below(figure, panels)
    return figure
