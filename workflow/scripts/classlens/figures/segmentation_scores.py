"""F12, beside the deletion curves: how well each relevance map finds the object.

Not in the paper.
"""

import polars as pl
from matplotlib.figure import Figure

from classlens.analyses.segmentation_scores import MEASURES
from classlens.figures import canvas, curves
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
    looks = curves.looks(frame)
    row = max(0.22, 0.07 * len(looks))  # height in inches
    figure, panels = canvas.grid_of_panels(len(MEASURES), width, 0.8 + row * len(methods), 3, share_x=False, least=1.4)
    for axes, measure in zip(panels, MEASURES, strict=True):
        counts = frame[f"{measure}_n"]
        for model, look in looks.items():
            rows = frame.filter(model=model)
            place = [
                methods.index(method) + (look.number - (len(looks) - 1) / 2) * min(0.25, 0.8 / len(looks)) for method in rows["method"]
            ]
            low, high = rows.select(pl.col(f"{measure}_low", f"{measure}_high").cast(pl.Float64)).to_numpy().T
            axes.hlines(place, low, high, colors=look.colour, gid=canvas.INTERVAL)
            axes.plot(rows[measure], place, linestyle="", color=look.colour, label=rows["label"][0], **look.marker)
        for method in (name for name in methods if frame.filter(method=name)[f"{measure}_n"].max() == 0):
            axes.text(0.5, methods.index(method), "undefined", ha="center", va="center", transform=axes.get_yaxis_transform(), fontsize=7)
        axes.set_title(f"{TITLES[measure]} ({canvas.count(counts.filter(counts > 0), 'images')})")
        axes.set_xlabel("%")
    panels[0].set_yticks(range(len(methods)), [canvas.NAMES[method] for method in methods])
    panels[0].invert_yaxis()
    canvas.legend_below(figure, panels)
    return figure
