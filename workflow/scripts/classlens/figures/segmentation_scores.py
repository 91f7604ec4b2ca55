"""F12, beside the deletion curves: how well each relevance map finds the object.

Not in the paper.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.analyses.segmentation_scores import MEASURES
from classlens.figures import canvas
from classlens.tables.segmentation_scores import data

__all__ = ["data", "draw"]

TITLES = {
    "pixel_accuracy": "pixel accuracy",
    "miou": "mIoU",
    "average_precision": "average precision",
    "pointing_game": "pointing game",
    "positive_share": "positive share",
}
MARKERS = "osD^vPX"


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a panel per measure, a row per method, and a marker per model with its interval."""
    methods, models = (frame[name].unique(maintain_order=True) for name in ("method", "model"))
    figure, panels = canvas.grid_of_panels(len(MEASURES), width, 0.7 + 0.32 * len(methods), len(MEASURES), share_x=False, least=1.3)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for index, model in enumerate(models):
            rows = frame.filter(model=model)
            place = [methods.to_list().index(method) + (index - (len(models) - 1) / 2) * 0.22 for method in rows["method"]]
            reach = [rows[measure] - rows[f"{measure}_low"], rows[f"{measure}_high"] - rows[measure]]
            axes.errorbar(rows[measure], place, xerr=reach, fmt=MARKERS[index % len(MARKERS)], label=rows["label"][0])
        axes.set_title(TITLES[measure], fontsize=7)
        axes.set_xlabel("%")
    panels[0].set_yticks(range(len(methods)), [canvas.NAMES[method] for method in methods])
    panels[0].invert_yaxis()
    canvas.legend_below(figure, panels[0])
    return figure
