"""F11, in detail: relevance maps of every block and head, for one image and its class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classlens.data.manifest_classes import classes_of
from classlens.figures import canvas
from classlens.figures.relevance_maps import decoded, named, paths_of, photograph
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (block, head, row, column): relevance of each patch; the first row has the `photograph`, a PNG in base64."""
    (item,), shown, manifest = series, pl.DataFrame(inputs["shown"][0]), inputs["manifest"][0]
    image = shown.row(0, named=True)
    rows, columns = canvas.patch_grid(item)
    maps = item.frame.filter(image_id=image["image_id"], class_index=image["class_index"])
    name, path = classes_of(manifest)[image["class_index"]][1], paths_of(manifest)[image["image_id"]]
    place = {"row": np.tile(np.repeat(np.arange(rows), columns), len(maps)), "column": np.tile(np.arange(columns), rows * len(maps))}
    frame = maps.select("image_id", pl.lit(path).alias("path"), pl.lit(name).alias("class_name"), "block", "head", "relevance").explode(
        "relevance"
    )
    pictures = pl.Series("photograph", [photograph(image), *[None] * (len(frame) - 1)], pl.String)
    return labelled(frame.with_columns(pictures, **{key: pl.Series(value) for key, value in place.items()}), item)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw the photograph, and a mosaic of maps with a column per block and a row per head, all on one scale."""
    blocks, heads, rows, columns = (frame[name].n_unique() for name in ("block", "head", "row", "column"))
    maps = frame["relevance"].to_numpy().reshape(blocks, heads, rows, columns)
    spaced = np.full((blocks, heads, rows + 1, columns + 1), np.nan)
    spaced[:, :, :rows, :columns] = maps
    mosaic = spaced.transpose(1, 2, 0, 3).reshape(heads * (rows + 1), blocks * (columns + 1))
    side = 0.2 * width
    height = max(side, 0.68 * width * mosaic.shape[0] / mosaic.shape[1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(width, height + 0.7), width_ratios=[side, width - side])
    left.imshow(decoded(frame["photograph"].drop_nulls()[0]))
    left.axis("off")
    largest = np.abs(maps).max()
    drawn = right.imshow(mosaic, cmap=canvas.DIVERGING, vmin=-largest, vmax=largest, interpolation="nearest")
    right.set_xticks(np.arange(blocks) * (columns + 1) + (columns - 1) / 2, [str(block + 1) for block in range(blocks)])
    right.set_yticks(np.arange(heads) * (rows + 1) + (rows - 1) / 2, [str(head + 1) for head in range(heads)])
    right.set_xlabel("block")
    right.set_ylabel("head")
    right.grid(False)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    right.set_title(f"{frame['label'][0]}: {named(frame['path'][0], frame['class_name'][0])}")
    ticks = MaxNLocator(6)  # a fixed maximum: tick labels set the scale's size, and if size also set ticks, the layout would not converge
    figure.colorbar(drawn, ax=right, shrink=0.8, aspect=15, ticks=ticks).set_label("relevance")
    return figure
