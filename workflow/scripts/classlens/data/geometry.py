"""The resize and the centre crop between an image file and a model's input, for images and for their masks.

Both are Pillow's, which timm's own transforms use too. Nothing here needs torch, so that whoever shows images need not load it.
"""

from typing import Any

import numpy as np
from PIL import Image


class Geometry:
    """A resize and a centre crop.

    Args:
        transform: resize ([height, width], or the length of the shortest side), keep_ratio (whether [height, width] is to be covered by an
            image of unchanged shape, instead of being its size), crop ([height, width] or None), interpolation.
    """

    def __init__(self, transform: dict[str, Any]):
        self._resize, self._crop = transform["resize"], transform.get("crop")
        self._keep_ratio = transform.get("keep_ratio", False)
        self._interpolation = Image.Resampling[transform["interpolation"].upper()]

    def image(self, image: Image.Image) -> Image.Image:
        """What a model sees of an image."""
        return self._changed(image, self._interpolation)

    def mask(self, ids: np.ndarray) -> np.ndarray:
        """Class ids of a mask [height, width] after the same resize and crop, by nearest neighbour, int32."""
        return np.asarray(self._changed(Image.fromarray(ids.astype(np.int32)), Image.Resampling.NEAREST))

    def _changed(self, image: Image.Image, interpolation: Image.Resampling) -> Image.Image:
        height, width = self._size(image)
        resized = image.resize((width, height), interpolation)
        return resized.crop(_box(height, width, *self._crop)) if self._crop else resized

    def _size(self, image: Image.Image) -> tuple[int, int]:
        """Height and width after the resize."""
        if not isinstance(self._resize, int):
            return self._covering(image) if self._keep_ratio else (self._resize[0], self._resize[1])
        short, long = sorted(image.size)
        scaled = int(self._resize * long / short)
        return (self._resize, scaled) if image.width >= image.height else (scaled, self._resize)

    def _covering(self, image: Image.Image) -> tuple[int, int]:
        """Height and width of the smallest image of the same shape that covers `resize`, rounded as timm's `ResizeKeepRatio` does."""
        ratio = min(image.height / self._resize[0], image.width / self._resize[1])
        return round(image.height / ratio), round(image.width / ratio)


def _box(height: int, width: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a crop of so many rows and columns, which may reach beyond the image: black is added there."""
    top, left = _start(height, rows), _start(width, columns)
    return left, top, left + columns, top + rows


def _start(length: int, kept: int) -> int:
    """Where the middle part of a length begins, as torchvision rounds it; before the start where more is kept than there is."""
    return round((length - kept) / 2) if kept <= length else -((kept - length) // 2)
