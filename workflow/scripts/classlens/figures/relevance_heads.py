"""F11, in detail: relevance maps of every block and head, for one image and its class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from classlens.data.manifest_classes import classes_of
from classlens.figures import canvas
from classlens.figures.heads import axes_of_heads, scale
from classlens.figures.relevance_maps import decoded, paths_of, photograph, short
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

PHOTOGRAPH = 0.16
"""Width of the photograph, relative to the figure's."""

BESIDE = 4.5
"""Minimum width of a figure that has the shares beside the maps, and not below them, inches."""


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
    axes_of_heads(axes_of["m"], blocks, heads, (rows + 1, columns + 1))
    scale(figure, drawn, axes_of["m"], "relevance")
    drawn = axes_of["s"].imshow(shares, cmap="cividis", vmin=0, interpolation="nearest", aspect=(rows + 1) / (columns + 1))
    axes_of_heads(axes_of["s"], blocks, heads, (1, 1))
    scale(figure, drawn, axes_of["s"], "share of absolute relevance (%)")
    figure.suptitle(f"{frame['label'][0]}: {short(frame['class_name'][0])} (n = 1 image)", fontsize=8)
    return figure


def _mosaic(maps: np.ndarray) -> np.ndarray:
    """Return maps [block, head, row, column] as one image with a column of maps per block, a row per head, and gaps of one patch."""
    blocks, heads, rows, columns = maps.shape
    spaced = np.full((blocks, heads, rows + 1, columns + 1), np.nan)
    spaced[:, :, :rows, :columns] = maps
    return spaced.transpose(1, 2, 0, 3).reshape(heads * (rows + 1), blocks * (columns + 1))
