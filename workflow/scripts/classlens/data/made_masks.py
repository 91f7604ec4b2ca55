"""Masks that the workflow makes: from boxes, from masks whose pixel values are class numbers, or from segments in COCO's form.

They are PNG files with the ids of ImageNet-S masks: `OBJECT` for the image's class, `IGNORED_ID` for ignored pixels, and 0 elsewhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from classlens.data.boxes import Box
from classlens.data.class_order import normal
from classlens.data.images import IGNORED_ID, decode, decode_exact, leave_out, read_bytes
from classlens.data.layouts import Dataset, Image
from classlens.data.table_files import parsed
from classlens.data.text_files import read_text
from classlens.errors import InputError
from classlens.progress import progress

OBJECT = 1
"""Id of the image's class in a mask that the workflow makes."""
IDS = (0, OBJECT, IGNORED_ID)
"""The id of each palette index."""
PALETTE = [value for one in IDS for value in (one % 256, one // 256, 0)]
Values = Sequence[int] | Mapping[str, int | Sequence[int]]
"""Pixel values of the object: one list for all classes, or by class id or name."""
Painted = np.ndarray
"""Palette indices of a mask's pixels, uint8 [height, width]."""


@dataclass(frozen=True)
class MaskSource:
    """The source of masks: boxes if `box_format` is set, segments if `coco` is set, otherwise the pixel values of other masks.

    Attributes:
        box_format: order of the numbers of a box, `xywh` or `xyxy`.
        coco: JSON file with segments.
        values: pixel values of the object; with `coco`, numbers of categories; None takes the category with the name of the class.
        ignored: pixel values of ignored pixels.
        names: name of each class by id.
    """

    box_format: str | None = None
    coco: Path | None = None
    values: Values | None = None
    ignored: Sequence[int] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, class_id: str) -> str:
        """Return the name of a class; its id if `names` lacks it."""
        return self.names.get(class_id, class_id)

    def of_class(self, class_id: str) -> set[int]:
        """Return the pixel values of a class.

        Raises:
            InputError: `mask_ids` does not list the class.
        """
        if not isinstance(self.values, Mapping):
            return set(self.values or ())
        by_name = {normal(key): value for key, value in self.values.items()}
        found = next((by_name[normal(key)] for key in (class_id, self.name(class_id)) if normal(key) in by_name), None)
        if found is None:
            raise InputError(f"the data set's `mask_ids` lacks the class {class_id}: add its pixel values")
        return {found} if isinstance(found, int) else set(found)


def write(images: Sequence[Image], dataset: Dataset, source: MaskSource, folder: Path, threads: int) -> None:
    """Write the mask of each image as `folder/{number}.png`, with the image's number in the manifest.

    Args:
        images: images of the split.
        dataset: the data set.
        source: what the masks are made from.
        folder: folder to write.
        threads: number of masks that are made at once.

    Raises:
        InputError: a mask cannot be made, unless bad images may be left out. The manifest then leaves out the image, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paint = _segments(dataset, source) if source.coco else _boxes(dataset, source) if source.box_format else _values(dataset, source)

    def made(number: int) -> InputError | None:
        image = images[number]
        try:
            mask = Picture.fromarray(paint(image))
        except InputError as error:
            return error
        mask.putpalette(PALETTE)
        mask.save(folder / file_name(number))
        return None

    with ThreadPoolExecutor(threads) as pool:
        for error in progress(pool.map(made, range(len(images))), len(images), "masks"):
            if error:
                leave_out(error, dataset.skip, "no mask")


def file_name(number: int) -> str:
    """Return the name of the mask of an image with a number."""
    return f"{number:06d}.png"


def _size(dataset: Dataset, image: Image) -> tuple[int, int]:
    path = dataset.root / image.path
    return decode(read_bytes(path)[0], path).size


def _boxes(dataset: Dataset, source: MaskSource) -> Callable[[Image], Painted]:
    """Return a function that paints the boxes of an image."""

    def paint(image: Image) -> Painted:
        if not image.boxes:
            raise InputError(f"the table has no box for {dataset.root / image.path}: add it, or set on_bad_image: skip")
        found = np.zeros((size := _size(dataset, image))[::-1], np.uint8)
        for box in image.boxes:
            try:
                left, upper, right, lower = corners(box, str(source.box_format), size)
            except ValueError as error:
                raise InputError(
                    f"the box {list(box)} of {dataset.root / image.path} {error}: correct it or the data set's `box_format`"
                ) from None
            found[upper:lower, left:right] = OBJECT
        return found

    return paint


def corners(box: Box, box_format: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box's left, upper, right and lower edge in whole pixels, within the image.

    Args:
        box: the box.
        box_format: `xywh` or `xyxy`.
        size: width and height of the image.

    Raises:
        ValueError: the box is empty, or leads more than a pixel out of the image.
    """
    left, upper, right, lower = box
    if box_format == "xywh":
        right, lower = left + right, upper + lower
    width, height = size
    if left < -1 or upper < -1 or right > width + 1 or lower > height + 1:
        raise ValueError(f"leads out of the image of {width} x {height} pixels")
    edges = max(0, math.floor(left)), max(0, math.floor(upper)), min(width, math.ceil(right)), min(height, math.ceil(lower))
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise ValueError("is empty")
    return edges


def _values(dataset: Dataset, source: MaskSource) -> Callable[[Image], Painted]:
    """Return a function that paints the pixels of a mask whose values are those of the image's class."""

    def paint(image: Image) -> Painted:
        if image.mask_path is None:
            raise InputError(f"{dataset.root / image.path} has no mask: add it, or set on_bad_image: skip")
        path = dataset.root / image.mask_path
        values = class_numbers(read_bytes(path)[0], path)
        found = np.isin(values, list(source.of_class(image.class_id))).astype(np.uint8)
        found[np.isin(values, list(source.ignored))] = IDS.index(IGNORED_ID)
        return found

    return paint


def class_numbers(data: bytes, path: Path) -> np.ndarray:
    """Return the class number of each pixel of a mask, [height, width]: its palette index or its grey value.

    Raises:
        InputError: the bytes are not a mask, or its pixels have colours.
    """
    pixels = np.asarray(decode_exact(data, path))
    if pixels.ndim == 3 and not (pixels[..., :1] == pixels[..., :3]).all():
        raise InputError(f"mask {path} has colours, but `mask_ids` needs palette indices or grey values: create the mask again")
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _segments(dataset: Dataset, source: MaskSource) -> Callable[[Image], Painted]:
    """Return a function that paints the segments of the image's class. Segments of crowds are ignored pixels."""
    coco = _Coco.read(Path(str(source.coco)))

    def paint(image: Image) -> Painted:
        categories = source.of_class(image.class_id) if source.values else coco.named(image.class_id, source.name(image.class_id))
        return coco.painted(Path(image.path).name, categories)

    return paint


@dataclass(frozen=True)
class _Coco:
    """The segments in a JSON file in COCO's form."""

    path: Path
    images: dict[str, dict[str, Any]]
    categories: dict[str, int]
    segments: dict[Any, list[dict[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> "_Coco":
        """Read a file.

        Raises:
            InputError: the file cannot be read, or has another form.
        """
        content = parsed(path, read_text(path))
        try:
            segments: dict[Any, list[dict[str, Any]]] = {}
            for one in content["annotations"]:
                segments.setdefault(one["image_id"], []).append(one)
            images = {Path(one["file_name"]).name: one for one in content["images"]}
            return cls(path, images, {normal(one["name"]): one["id"] for one in content["categories"]}, segments)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not JSON in COCO's form ({error}): correct the data set's `masks`") from None

    def named(self, class_id: str, name: str) -> set[int]:
        """Return the category with the id or one of the names of a class.

        Raises:
            InputError: there is no such category.
        """
        found = {self.categories[one] for one in map(normal, (class_id, name, *name.split(", "))) if one in self.categories}
        if not found:
            raise InputError(f"{self.path} has no category {class_id}: give the number of its category in the data set's `mask_ids`")
        return found

    def painted(self, file: str, categories: set[int]) -> Painted:
        """Return the mask of an image.

        Raises:
            InputError: the file has no segment of these categories in this image, or segments of another form.
        """
        image = self.images.get(file, {})
        segments = [one for one in self.segments.get(image.get("id"), ()) if one["category_id"] in categories]
        if not any(not one.get("iscrowd") for one in segments):
            raise InputError(f"{self.path} has no segment of the class of {file}: add it, or set on_bad_image: skip")
        decoded = _decoder()
        try:
            size = image["height"], image["width"]
            found = np.zeros(size, np.uint8)
            for one in sorted(segments, key=lambda one: not one.get("iscrowd")):  # objects in front of crowds
                found[decoded(one["segmentation"], size)] = IDS.index(IGNORED_ID) if one.get("iscrowd") else OBJECT
        except Exception as error:  # pycocotools raises any exception
            raise InputError(f"{self.path} has a segment of {file} in another form than COCO's ({error}): correct it") from None
        return found


def _decoder() -> Callable[[Any, tuple[int, int]], np.ndarray]:
    """Return a function that returns where a segment is, bool [height, width], from its polygons or runs and this size."""
    try:
        from pycocotools import mask
    except ImportError:
        raise InputError("segments in COCO's form need pycocotools: pip install 'classlens[coco]'") from None

    def decoded(segment: Any, size: tuple[int, int]) -> np.ndarray:
        runs = mask.frPyObjects(segment, *size)
        inside = mask.decode(mask.merge(runs) if isinstance(runs, list) else runs)
        if inside.shape != size or inside.max() > 1:  # pycocotools leaves pixels after the last run as they were in memory
            raise ValueError("its runs do not fill the image")
        return inside.astype(bool)

    return decoded
