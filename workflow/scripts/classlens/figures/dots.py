"""Values of several methods side by side: a row per method, and a marker with its interval per model."""

import polars as pl
from matplotlib.axes import Axes

from classlens.figures import canvas, curves


def by_method(axes: Axes, frame: pl.DataFrame, measure: str, methods: list[str]) -> None:
    """Draw a measure and its interval for each model and method.

    Args:
        axes: where to draw; its first method is at the top.
        frame: rows (model, method) with label, the measure, and the columns `{measure}_low`, `{measure}_high` and `{measure}_n`.
        measure: column to draw.
        methods: methods in the order of the rows.
    """
    looks = curves.looks(frame)
    for model, look in looks.items():
        rows = frame.filter(model=model)
        place = [methods.index(method) + (look.number - (len(looks) - 1) / 2) * min(0.25, 0.8 / len(looks)) for method in rows["method"]]
        low, high = rows.select(pl.col(f"{measure}_low", f"{measure}_high").cast(pl.Float64)).to_numpy().T
        axes.hlines(place, low, high, colors=look.colour, gid=canvas.INTERVAL)
        axes.plot(rows[measure], place, linestyle="", color=look.colour, label=rows["label"][0], **look.marker)
    for method in (name for name in methods if frame.filter(method=name)[f"{measure}_n"].max() == 0):
        axes.text(0.5, methods.index(method), "undefined", ha="center", va="center", transform=axes.get_yaxis_transform(), fontsize=7)


def height(frame: pl.DataFrame, methods: list[str]) -> float:
    """Return the height of a panel that `by_method` draws, inches."""
    return 0.8 + max(0.22, 0.07 * frame["model"].n_unique()) * len(methods)


def name_methods(axes: Axes, methods: list[str]) -> None:
    """Name the rows of methods, the first at the top."""
    axes.set_yticks(range(len(methods)), [canvas.NAMES[method] for method in methods])
    axes.invert_yaxis()
