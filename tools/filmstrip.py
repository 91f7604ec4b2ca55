"""Draw how a class spreads over an image, block by block: the animation of the README. `make filmstrip` runs this after the demo.

    python tools/filmstrip.py --results results/demo --film docs/images/filmstrip.webp

It shows the clearest example of the run, not a typical one: an image at which the class ends up first at all patches or nearly all.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from classlens.data.images import to_rgb
from classlens.data.manifest_classes import classes_of
from classlens.data.transforms import Transform
from classlens.figures import canvas
from classlens.models.card import Card
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write

MODEL, DATASET, SPLIT = "cls", "shapes", "validation"
COLUMNS = 6
SIZE, DPI = (8.4, 3.1), 180
FRAME_MS, END_MS = 450, 3000
DIMMED = 0.45
"""Contrast of a patch at which another class ranks first."""


@dataclass(frozen=True)
class Spread:
    """Where the true class of one image ranks first.

    Attributes:
        pixels: the model's input, uint8 [height, width, 3].
        name: the true class.
        first: bool [block, row, column].
    """

    pixels: np.ndarray
    name: str
    first: np.ndarray


def clearest(first: np.ndarray, correct: np.ndarray) -> int:
    """Return the clearest example: of the images with the most first ranks in the last block, the one that gets there most evenly.

    Args:
        first: whether the true class ranks first, bool [image, block, token].
        correct: whether the model classifies the image correctly, bool [image]; only such images are chosen.
    """
    share = np.where(correct[:, None], first.mean(axis=-1), -1)
    uneven = ((share - np.linspace(0, 1, share.shape[1])) ** 2).sum(axis=1)
    return int(np.lexsort((uneven, -share[:, -1]))[0])


def spread(results: Path) -> Spread:
    """Return the image to draw, from a finished run of the demo."""
    card = Card.read(results / "models" / MODEL / "model.json")
    manifest = parquet.read_table(results / f"data/{DATASET}/{SPLIT}/manifest.parquet")
    shards = sorted((results / f"projections/{MODEL}/{DATASET}/{SPLIT}").glob("*.parquet"))
    rows = pl.concat(pl.DataFrame(parquet.read_table(shard)) for shard in shards)
    rows = rows.filter(pl.col("token") >= card.prefix_tokens, site="resid_post").sort("image_id", "block", "token")
    first = (rows["rank"] == 0).to_numpy().reshape(len(manifest), card.depth, card.image_tokens)
    predictions = pl.DataFrame(parquet.read_table(results / f"predictions/{MODEL}/{DATASET}/{SPLIT}.parquet")).sort("image_id")
    image = clearest(first, predictions["correct"].to_numpy())
    row = manifest.slice(image, 1).to_pylist()[0]
    with Image.open(results / f"data/{DATASET}/images" / row["path"]) as photograph:
        pixels = Transform(card.transform).pixels(to_rgb(photograph)).permute(1, 2, 0).numpy()
    return Spread(pixels, classes_of(manifest)[row["class_index"]][1], first[image].reshape(card.depth, *card.grid))


def map_of(axes: Axes, pixels: np.ndarray, first: np.ndarray) -> None:
    """Draw an image whose patches are in colour, with an outline, where the true class ranks first, and grey elsewhere."""
    region = np.kron(first, np.ones(np.floor_divide(pixels.shape[:2], first.shape))).astype(bool)
    grey = 255 - DIMMED * (255 - pixels.mean(axis=-1, keepdims=True)).repeat(3, axis=-1)
    axes.imshow(np.where(region[..., None], pixels, grey).astype(np.uint8), interpolation="nearest")
    if region.any() and not region.all():
        axes.contour(region, [0.5], colors="black", linewidths=0.8)


def frame(shown: Spread, until: int) -> Image.Image:
    """Return the picture with the maps of the first `until` blocks; later maps are grey."""
    depth = len(shown.first)
    rows = -(-depth // COLUMNS)
    with plt.style.context(canvas.STYLE):
        figure = plt.figure(figsize=SIZE, dpi=DPI, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 2.6))
        photograph = left.subplots()
        photograph.imshow(shown.pixels)
        photograph.set_title(f"image: {shown.name}", fontsize=10)
        panels = right.subplots(rows, COLUMNS).ravel()
        for block, axes in enumerate(panels[:depth]):
            seen = block < until
            map_of(axes, shown.pixels, shown.first[block] if seen else np.zeros_like(shown.first[block]))
            axes.set_title(f"block {block + 1}", fontsize=8, fontweight="bold" if block == until - 1 else "normal")
            axes.set_xlabel(f"{shown.first[block].sum()} of {shown.first[block].size}" if seen else " ", fontsize=8)
        for axes in (photograph, *panels):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        right.supxlabel("coloured: patches at which the true class has the largest logit", fontsize=8)
        figure.canvas.draw()
        picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        plt.close(figure)
    return picture


def film(shown: Spread, path: Path) -> None:
    """Write the animation: first all blocks, as a still picture would show them, then one block after the other."""
    depth = len(shown.first)
    frames = [frame(shown, until) for until in (depth, *range(1, depth))]
    durations = [END_MS, *[FRAME_MS] * (depth - 1)]
    with atomic_write(path) as draft:
        frames[0].save(draft, format="WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80, method=6)


def main() -> None:
    """Draw the animation from a finished run of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of the demo's results")
    parser.add_argument("--film", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    film(spread(args.results), args.film)
    print(f"{args.film}: {args.film.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
