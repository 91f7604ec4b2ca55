"""Curves over blocks that several figures draw alike."""

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from classlens.figures import canvas


def colours(frame: pl.DataFrame) -> dict[str, str]:
    """A colour per model; a random twin has that of its model, which comes before it."""
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    result: dict[str, str] = {}
    trained = 0
    for model, random in frame.select("model", "random").unique(maintain_order=True).iter_rows():
        base = model.removesuffix("_random")
        if random and base in result:
            result[model] = result[base]
        else:
            result[model] = cycle[trained % len(cycle)]
            trained += 1
    return result


def per_model(axes: Axes, frame: pl.DataFrame, all_models: pl.DataFrame) -> None:
    """A line with interval per model over column `x`, random twins dashed.

    Args:
        axes: where to draw.
        frame: rows (model, block) with x, mean, low, high, label and random.
        all_models: rows of all models of the figure, so that colours agree between panels.
    """
    palette = colours(all_models)
    for (model,), rows in frame.group_by("model", maintain_order=True):
        style = "--" if rows["random"][0] else "-"
        canvas.band(axes, rows["x"], rows, palette[str(model)], rows["label"][0], style)


def x_axis(axes: Axes, frame: pl.DataFrame) -> None:
    """An x axis of blocks, or of relative depth where the models differ in depth."""
    if frame["relative"][0]:
        axes.set_xlabel("relative depth")
    else:
        canvas.block_axis(axes)
