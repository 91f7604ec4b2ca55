"""Curves over blocks that several figures draw alike."""

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas
from classlens.groups import LAYERS
from classlens.series import Series, labelled


def same_depth(frame: pl.DataFrame) -> bool:
    """Whether all models of a figure have as many blocks, so that panels can share their axis."""
    return frame.group_by("model").agg(pl.col("block").max())["block"].n_unique() == 1


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
        random = rows["random"][0]
        canvas.band(
            axes, rows["x"], rows, palette[str(model)], canvas.RANDOM_TWINS if random else rows["label"][0], "--" if random else "-"
        )


def x_axis(axes: Axes, frame: pl.DataFrame) -> None:
    """An x axis of blocks, or of relative depth where the models differ in depth."""
    if frame["relative"][0]:
        axes.set_xlabel("relative depth")
    else:
        canvas.block_axis(axes)


def model_panels(frame: pl.DataFrame, width: float, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A panel per model over blocks, titled with its label and number of images, if the rows say it."""
    models = frame["model"].unique(maintain_order=True)
    figure, panels = canvas.grid_of_panels(len(models), width, 2.6, columns, same_depth(frame))
    for axes, model in zip(panels, models, strict=True):
        rows = frame.filter(model=model)
        counts = f" (n = {max(rows['images'])} images)" if "images" in rows.columns else ""
        axes.set_title(rows["label"][0] + counts)
        axes.margins(y=0.15)
        canvas.block_axis(axes)
    return figure, panels


def layer_rates(series: list[Series], seed: int) -> pl.DataFrame:
    """Rows (model, layer, tokens, block): share of tokens in per cent with its 95 % interval over images, from columns `attn` and `mlp`."""
    frames = []
    for item in series:
        for layer in LAYERS:
            means = statistics.by_block(item.frame, layer, seed).with_columns(pl.col("mean", "low", "high") * 100)
            frames.append(labelled(means.select(pl.lit(layer).alias("layer"), pl.all()), item))
    return pl.concat(frames)


def draw_layer_rates(frame: pl.DataFrame, width: float, label: str) -> Figure:
    """A panel per model, a line per layer over blocks, [CLS] dashed."""
    figure, panels = model_panels(frame, width)
    for axes, (_, rows) in zip(panels, frame.group_by("model", maintain_order=True), strict=True):
        for (layer, tokens), part in rows.group_by("layer", "tokens", maintain_order=True):
            name = f"{canvas.NAMES[str(layer)]}, {canvas.NAMES[str(tokens)]}"
            canvas.band(axes, part["block"] + 1, part, canvas.COLOURS[str(layer)], name, "--" if tokens == "cls" else "-")
    panels[0].set_ylabel(label)
    canvas.legend_below(figure, max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    return figure
