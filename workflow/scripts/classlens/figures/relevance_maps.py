"""F11: relevance maps over photographs, for several classes per photograph.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import base64
import io
import textwrap
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
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

CHARACTER, LINE = 0.068, 0.12
"""Width of a character and height of a line in titles, inches."""

SIDE = 0.8
"""Minimum width of a photograph, inches, if two images stand side by side."""

GAP = 0.2
"""Space between images that stand side by side, relative to the width of a photograph."""


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (image, class, row, column): relevance of each patch, and whether it is on the object, null without masks.

    An image's first row has the `photograph`, a PNG in base64.
    """
    (item,), shown, manifest = series, pl.DataFrame(inputs["shown"][0]), inputs["manifest"][0]
    names = [name for _, name in classes_of(manifest)]
    paths = paths_of(manifest)
    rows, columns = canvas.patch_grid(item)
    frames = []
    labels = pl.concat([pl.DataFrame(table).cast({"label": pl.String}) for table in inputs["context"]]) if inputs["context"] else None
    maps = item.frame.filter(pl.col("method").cast(pl.String) == "ours")
    for image in shown.iter_rows(named=True):
        on_object = None if labels is None else labels.filter(image_id=image["image_id"]).sort("token")["label"] == "class"
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
                        "on_object": on_object,
                        "photograph": [photograph(image) if is_own else None, *[None] * (rows * columns - 1)],
                    },
                    schema_overrides={"photograph": pl.String, "on_object": pl.Boolean},
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
    """Draw each photograph, and beside it the map of each class over the photograph, on one scale; two images per row if they fit."""
    images = [frame.filter(image_id=image) for image in frame["image_id"].unique(maintain_order=True)]
    most = 1 + max(of_image["class_index"].n_unique() for of_image in images)
    beside = 2 if len(images) > 1 and width >= SIDE * (2 * most + GAP) else 1
    side = width / (beside * most + (beside - 1) * GAP)
    titles = [[_broken(title, int(side / CHARACTER)) for title in _titles(of_image)] for of_image in images]
    lines = 1 + max(title.count("\n") for row in titles for title in row)
    deep = -(-len(images) // beside)
    ratios = [1.0] * most if beside == 1 else [*[1.0] * most, GAP, *[1.0] * most]
    size = (width, 0.8 + deep * (side + LINE * (lines + 1)))
    figure, grid = plt.subplots(deep, len(ratios), figsize=size, width_ratios=ratios, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    places = [row[start : start + most] for row in grid for start in range(0, len(ratios), most + 1)]
    for row, of_image, names in zip(places, images, titles, strict=False):
        _draw_image(row, of_image)
        for axes, name in zip(row, names, strict=False):
            axes.set_title(name, fontsize=TITLE)
    colours = plt.cm.ScalarMappable(Normalize(-1, 1), patches.RELEVANCE)
    bar = figure.colorbar(colours, ax=grid, location="bottom", shrink=0.7, aspect=40, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("relevance / largest of the image (magenta: for the class)")
    figure.suptitle(f"{frame['label'][0]} (n = {len(images)} {'images' if len(images) > 1 else 'image'})", fontsize=8)
    return figure


def _draw_image(row: Sequence[Axes], of_image: pl.DataFrame) -> None:
    pixels = decoded(of_image["photograph"].drop_nulls()[0])
    row[0].imshow(pixels)
    largest = float(np.abs(of_image["relevance"].to_numpy()).max())
    for axes, (_, part) in zip(row[1:], of_image.group_by("class_index", maintain_order=True), strict=False):
        shape = (part["row"].n_unique(), part["column"].n_unique())
        patches.relevance(axes, pixels, part["relevance"].to_numpy().reshape(shape), largest)
        if part["on_object"].null_count() == 0:
            patches.outline(axes, pixels, part["on_object"].to_numpy().reshape(shape))


def _titles(of_image: pl.DataFrame) -> list[str]:
    """Return the titles of an image's photograph, its class, and of its maps."""
    classes = of_image.unique("class_index", keep="first", maintain_order=True)
    own = classes.filter(pl.col("own_class"))["class_name"][0]
    return [short(own), *(f"for {short(name)}" for name in classes["class_name"])]


def _broken(title: str, length: int) -> str:
    """Return a title wrapped to a maximum line length; names of folders may lack spaces, so lines also break after underscores."""
    return textwrap.fill(title.replace("_", "_\v"), length, replace_whitespace=False).replace("\v", "")


def short(name: str) -> str:
    """Return the first of a class's comma-separated names."""
    return name.split(",")[0]
