"""F8: class-value and key-value agreement of all models side by side.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.3; methods, sections 5 and 11.
"""

import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from classlens import statistics
from classlens.figures import canvas, curves
from classlens.groups import LAYERS
from classlens.presentation import Inputs
from classlens.protocol import Protocol
from classlens.series import Series, depth_axis, labelled, paired_blocks

MEASURES = {"class_value": "class-value (cosine)", "key_value": "key-value (% of tokens)"}


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Rows (model, measure, layer, block) with mean and 95 % interval, over classes (`class_value`) or images (`key_value`)."""
    relative = depth_axis(series, protocol)
    frames = []
    for item, class_value in zip(series, inputs["class-value"], strict=True):
        values = pl.DataFrame(class_value).rename({"layer": "tokens", "class_index": "image_id", "agreement": "value"})
        parts = [("class_value", layer, values.filter(tokens=layer).with_columns(n=pl.lit(1)), 1) for layer in LAYERS]
        parts += [("key_value", layer, item.frame.filter(tokens="all").rename({layer: "value"}), 100) for layer in LAYERS]
        for measure, layer, frame, scale in parts:
            frame = paired_blocks(frame, "value") if protocol.pair_blocks_of_deep_models else frame
            means = statistics.by_block(frame, "value", seed).with_columns(pl.col("mean", "low", "high") * scale)
            if measure == "class_value":  # whose units are classes
                means = means.with_columns(images=pl.lit(None, means["images"].dtype))
            depth = (pl.col("block") + 1) / (pl.col("block").max().add(1) if relative else 1)
            names = {"measure": measure, "layer": layer}
            columns = [pl.lit(value).alias(name) for name, value in names.items()]
            frames.append(labelled(means.select(*columns, pl.exclude("tokens"), depth.cast(pl.Float64).alias("x")), item))
    return pl.concat(frames).with_columns(relative=pl.lit(relative))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """A row per measure, a column per layer, a line per model."""
    figure, grid = plt.subplots(2, 2, figsize=(width, 4.6), sharex=True, sharey="row")
    for row, (measure, title) in zip(grid, MEASURES.items(), strict=True):
        for axes, layer in zip(row, LAYERS, strict=True):
            curves.per_model(axes, frame.filter(measure=measure, layer=layer), all_models=frame)
            axes.set_title(canvas.NAMES[layer])
        row[0].set_ylabel(title)
    for axes in grid[1]:
        curves.x_axis(axes, frame)
    canvas.legend_below(figure, grid[0, 0])
    return figure
