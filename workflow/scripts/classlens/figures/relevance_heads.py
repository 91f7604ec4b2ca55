"""F11, in detail: relevance maps of every block and head, for one image and its class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from classlens.data.manifest_classes import classes_of
from classlens.figures import canvas
from classlens.figures.relevance_maps import decoded, paths_of, photograph, short
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

PHOTOGRAPH = 0.16
"""Width of the photograph, relative to the figure's."""

BESIDE = 4.5
"""Minimum width of a figure that has the shares beside the maps, and not below them, inches."""

MOST_TICKS = 6
"""Maximum number of labels of blocks or heads."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (block, head, row, column): relevance of each patch, and the head's share of all absolute relevance in per cent.

    The first row has the `photograph`, a PNG in base64.
    """
    (item,), shown, manifest = series, pl.DataFrame(inputs["shown"][0]), inputs["manifest"][0]
    image = shown.row(0, named=True)
    rows, columns = canvas.patch_grid(item)
    maps = item.frame.filter(image_id=image["image_id"], class_index=image["class_index"])
    name, path = classes_of(manifest)[image["class_index"]][1], paths_of(manifest)[image["image_id"]]
    place = {"row": np.tile(np.repeat(np.arange(rows), columns), len(maps)), "column": np.tile(np.arange(columns), rows * len(maps))}
    size = np.abs(np.stack(maps["relevance"].to_list())).sum(axis=1)
    share = pl.Series("share", 100 * size / max(size.sum(), np.finfo(np.float32).tiny), pl.Float64)
    named = [pl.lit(path).alias("path"), pl.lit(name).alias("class_name")]
    frame = maps.select("image_id", *named, "block", "head", share, "relevance").explode("relevance")
    pictures = pl.Series("photograph", [photograph(image), *[None] * (len(frame) - 1)], pl.String)
    return labelled(frame.with_columns(pictures, **{key: pl.Series(value) for key, value in place.items()}), item)


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw the photograph, a mosaic of maps with a column per block and a row per head on one scale, and the share of each head."""
    blocks, heads, rows, columns = (frame[name].n_unique() for name in ("block", "head", "row", "column"))
    maps = frame["relevance"].to_numpy().reshape(blocks, heads, rows, columns)
    shares = frame["share"].to_numpy().reshape(blocks, heads, -1)[..., 0].T
    beside = width >= BESIDE
    panel = width * (0.36 if beside else 0.8)
    height = max(PHOTOGRAPH * width, panel * heads / blocks)
    layout, deep, across = ("pms", 1, 2) if beside else ("pm;.s", 2, 1)  # photograph, maps, shares
    ratios = [PHOTOGRAPH, *[(1 - PHOTOGRAPH) / across] * across]
    figure, axes_of = plt.subplot_mosaic(layout, figsize=(width, (height + 1.2) * deep), width_ratios=ratios)
    axes_of["p"].imshow(decoded(frame["photograph"].drop_nulls()[0]))
    axes_of["p"].axis("off")
    largest = np.abs(maps).max()
    drawn = axes_of["m"].imshow(_mosaic(maps), cmap=canvas.DIVERGING, vmin=-largest, vmax=largest, interpolation="nearest")
    _axes_of_heads(axes_of["m"], blocks, heads, (rows + 1, columns + 1))
    _scale(figure, drawn, axes_of["m"], "relevance")
    drawn = axes_of["s"].imshow(shares, cmap="cividis", vmin=0, interpolation="nearest", aspect=(rows + 1) / (columns + 1))
    _axes_of_heads(axes_of["s"], blocks, heads, (1, 1))
    _scale(figure, drawn, axes_of["s"], "share of absolute relevance (%)")
    figure.suptitle(f"{frame['label'][0]}: {short(frame['class_name'][0])} (n = 1 image)", fontsize=8)
    return figure


def _mosaic(maps: np.ndarray) -> np.ndarray:
    """Return maps [block, head, row, column] as one image with a column of maps per block, a row per head, and gaps of one patch."""
    blocks, heads, rows, columns = maps.shape
    spaced = np.full((blocks, heads, rows + 1, columns + 1), np.nan)
    spaced[:, :, :rows, :columns] = maps
    return spaced.transpose(1, 2, 0, 3).reshape(heads * (rows + 1), blocks * (columns + 1))


def _axes_of_heads(axes: Axes, blocks: int, heads: int, cell: tuple[int, int]) -> None:
    """Label cells of some rows and columns by head and block; of many blocks or heads, only every second one, and so on."""
    for number, size, axis in ((blocks, cell[1], axes.xaxis), (heads, cell[0], axes.yaxis)):
        shown = np.arange(0, number, -(-number // MOST_TICKS))
        middle = (max(size - 1, 1) - 1) / 2  # a gap ends each cell of several patches
        axis.set_ticks(shown * size + middle, [str(index + 1) for index in shown])
    axes.set_xlabel("block")
    axes.set_ylabel("head")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _scale(figure: Figure, drawn: AxesImage, axes: Axes, label: str) -> None:
    ticks = MaxNLocator(4)  # a fixed maximum: tick labels set the scale's size, and if size also set ticks, the layout would not converge
    figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9, aspect=25, ticks=ticks).set_label(label)
