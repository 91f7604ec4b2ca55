"""The resize and the centre crop from an image file to a model's input, for images and for their masks.

Both use Pillow, as timm's own transforms do. This module does not import torch, so that programs that only show images do not load it.
"""

from typing import Any

import numpy as np
from PIL import Image


class Geometry:
    """A resize and a centre crop.

    Args:
        transform: resize ([height, width], or the length of the shortest side), keep_ratio (True: keep the
            aspect ratio and cover [height, width]; False: resize to [height, width] exactly), crop ([height, width] or None), and
            interpolation.
    """

    def __init__(self, transform: dict[str, Any]):
        self._resize, self._crop = transform["resize"], transform.get("crop")
        self._keep_ratio = transform.get("keep_ratio", False)
        self._interpolation = Image.Resampling[transform["interpolation"].upper()]

    def image(self, image: Image.Image) -> Image.Image:
        """Return an image after resize and crop, as a model sees it."""
        return self._changed(image, self._interpolation)

    def mask(self, ids: np.ndarray) -> np.ndarray:
        """Return the class ids of a mask [height, width] after the same resize and crop, by nearest neighbour, as int32."""
        return np.asarray(self._changed(Image.fromarray(ids.astype(np.int32)), Image.Resampling.NEAREST))

    def _changed(self, image: Image.Image, interpolation: Image.Resampling) -> Image.Image:
        height, width = self._size(image)
        resized = image.resize((width, height), interpolation)
        return resized.crop(_box(height, width, *self._crop)) if self._crop else resized

    def _size(self, image: Image.Image) -> tuple[int, int]:
        """Return height and width after the resize."""
        if not isinstance(self._resize, int):
            return self._covering(image) if self._keep_ratio else (self._resize[0], self._resize[1])
        short, long = sorted(image.size)
        scaled = int(self._resize * long / short)
        return (self._resize, scaled) if image.width >= image.height else (scaled, self._resize)

    def _covering(self, image: Image.Image) -> tuple[int, int]:
        """Return the smallest height and width of the same aspect ratio that cover `resize`, rounded as in timm's `ResizeKeepRatio`."""
        ratio = min(image.height / self._resize[0], image.width / self._resize[1])
        return round(image.height / ratio), round(image.width / ratio)


def _box(height: int, width: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a centre crop. A crop that is larger than the image adds black around it."""
    top, left = _start(height, rows), _start(width, columns)
    return left, top, left + columns, top + rows


def _start(length: int, kept: int) -> int:
    """Return the start of the middle `kept` pixels of a length, rounded as in torchvision; negative if `kept` exceeds `length`."""
    return round((length - kept) / 2) if kept <= length else -((kept - length) // 2)
