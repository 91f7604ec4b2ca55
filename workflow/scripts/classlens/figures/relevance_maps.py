"""F11: relevance maps over photographs, for several classes per photograph.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import base64
import io
import textwrap
from pathlib import PurePath

import numpy as np
import polars as pl
import pyarrow as pa
from matplotlib import pyplot as plt
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from classlens.data.manifest_classes import classes_of
from classlens.figures import canvas, patches
from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol

COLUMNS = 3
"""Maximum number of classes drawn side by side for one image."""

TITLE = 7
"""Font size of titles, points."""

CHARACTER, LINE = 0.064, 0.12
"""Width of a character and height of a line in titles, inches."""

SCALE = 1.2
"""Width of the colour bar, inches."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (image, class, row, column): relevance of each patch; an image's first row has the `photograph`, a PNG in base64."""
    (item,), shown, manifest = series, pl.DataFrame(inputs["shown"][0]), inputs["manifest"][0]
    names = [name for _, name in classes_of(manifest)]
    paths = paths_of(manifest)
    rows, columns = canvas.patch_grid(item)
    frames = []
    maps = item.frame.filter(pl.col("method").cast(pl.String) == "ours")
    for image in shown.iter_rows(named=True):
        of_image = maps.filter(image_id=image["image_id"]).with_columns(is_own=pl.col("class_index") == image["class_index"])
        for index, relevance, is_own in of_image.select("class_index", "relevance", "is_own").head(COLUMNS).iter_rows():
            frames.append(
                pl.DataFrame(
                    {
                        "image_id": image["image_id"],
                        "path": paths[image["image_id"]],
                        "class_index": index,
                        "class_name": names[index],
                        "own_class": is_own,
                        "row": np.repeat(np.arange(rows), columns),
                        "column": np.tile(np.arange(columns), rows),
                        "relevance": relevance,
                        "photograph": [photograph(image) if is_own else None, *[None] * (rows * columns - 1)],
                    },
                    schema_overrides={"photograph": pl.String},
                )
            )
    return labelled(pl.concat(frames), item)


def paths_of(manifest: pa.Table) -> dict[int, str]:
    """Return the path of each image of a manifest, by image id."""
    return dict(zip(manifest["image_id"].to_pylist(), manifest["path"].to_pylist(), strict=True))


def photograph(image: dict[str, object]) -> str:
    """Return an image of the table `shown` as a PNG in base64."""
    pixels = np.frombuffer(image["pixels"], np.uint8).reshape(image["height"], image["width"], 3)  # type: ignore[call-overload]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def decoded(text: str) -> np.ndarray:
    """Return the pixels [height, width, 3] of a photograph in base64."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def draw(frame: pl.DataFrame, width: float) -> Figure:
    """Draw a row per image: the photograph, then the map of each class over the photograph, relative to its largest value."""
    images = [frame.filter(image_id=image) for image in frame["image_id"].unique(maintain_order=True)]
    most = max(of_image["class_index"].n_unique() for of_image in images)
    side = (width - SCALE) / (1 + most)
    titles = [[_broken(title, int(side / CHARACTER)) for title in _titles(of_image)] for of_image in images]
    lines = 1 + max(title.count("\n") for row in titles for title in row)
    size = (width, 0.25 + len(images) * (side + LINE * (lines + 1)))
    figure, grid = plt.subplots(len(images), 1 + most, figsize=size, squeeze=False)
    for row, of_image, names in zip(grid, images, titles, strict=True):
        pixels = decoded(of_image["photograph"].drop_nulls()[0])
        row[0].imshow(pixels)
        maps = of_image.group_by("class_index", maintain_order=True)
        for axes, (_, part) in zip(row[1:], maps, strict=False):
            patches.relevance(axes, pixels, part["relevance"].to_numpy().reshape(part["row"].n_unique(), -1))
        for axes, name in zip(row, names, strict=False):
            axes.set_title(name, fontsize=TITLE)
        for axes in row:
            axes.axis("off")
    colours = plt.cm.ScalarMappable(Normalize(-1, 1), canvas.DIVERGING)
    figure.colorbar(colours, ax=grid, shrink=0.5, aspect=25).set_label("relevance (relative to the map's largest)")
    figure.suptitle(frame["label"][0], fontsize=8)
    return figure


def _titles(of_image: pl.DataFrame) -> list[str]:
    """Return the titles of an image's photograph and maps."""
    classes = of_image.unique("class_index", keep="first", maintain_order=True)
    maps = [f"{short(name)}{' (its class)' if own else ''}" for name, own in classes.select("class_name", "own_class").iter_rows()]
    return [named(of_image["path"][0], classes.filter(pl.col("own_class"))["class_name"][0]), *maps]


def _broken(title: str, length: int) -> str:
    """Return a title wrapped to a maximum line length; file names may lack spaces, so lines also break after underscores."""
    return textwrap.fill(title.replace("_", "_\v"), length, replace_whitespace=False).replace("\v", "")


def named(path: str, class_name: str) -> str:
    """Return an image's title: its file name and its class."""
    return f"{PurePath(path).name} ({short(class_name)})"


def short(name: str) -> str:
    """Return the first of a class's comma-separated names."""
    return name.split(",")[0]
