"""Reading image and mask files safely: every fault becomes an error that names the file."""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from classlens.errors import InputError
from classlens.provenance import forget

IGNORED_ID = 1000
"""Id of the pixels of an ImageNet-S mask that are to be ignored."""


def read_bytes(path: Path) -> tuple[bytes, str]:
    """A file's bytes and their hexadecimal sha256.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; restore the file, or set on_bad_image: skip") from None
    return data, hashlib.sha256(data).hexdigest()


def read_unchanged(path: Path, sha256: str) -> bytes:
    """The bytes of a file that must still be the one that the manifest describes.

    Raises:
        InputError: it is missing, or has changed.
    """
    data, digest = read_bytes(path)
    if digest != sha256:
        forget(path)  # otherwise the next run takes it for the same file where its size and dates are the same
        raise InputError(f"{path} has changed since the manifest was made: run the workflow again")
    return data


def read_image(row: dict[str, Any], root: Path) -> Image.Image:
    """The image of a row of a manifest, as 8-bit RGB.

    Raises:
        InputError: the file is missing, or no longer the one that the manifest describes.
    """
    path = root / row["path"]
    return to_rgb(decode(read_unchanged(path, row["sha256"]), path))


def decode(data: bytes, path: Path) -> Image.Image:
    """The decoded image of a file's bytes, in its own mode; of an animation the first frame.

    Raises:
        InputError: the bytes are no image, are cut short, or have too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and about large images that Pillow still accepts
            image = Image.open(io.BytesIO(data))
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError) as error:
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise InputError(f"{path} cannot be decoded ({reason}): replace it, or set on_bad_image: skip") from None
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB. Sixteen-bit grey is scaled, not clipped; transparency is dropped."""
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.float64)
        image = Image.fromarray((grey * (255 / 65535)).round().clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def mask_ids(image: Image.Image, binary: bool) -> np.ndarray:
    """Class ids of a decoded mask's pixels, int32 [height, width].

    Args:
        image: the mask.
        binary: True for a mask that is 0 outside of the object, whose ids are then 0 and 1; False for ImageNet-S, R + 256 G.
    """
    if binary:
        deep = image.mode == "I" or image.mode.startswith("I;16")
        pixels = np.asarray(image if deep else image.convert("RGB"))
        return np.where(pixels.reshape(*pixels.shape[:2], -1).max(axis=-1) > 0, np.int32(1), np.int32(0))
    red, green, _ = np.moveaxis(np.asarray(image.convert("RGB"), np.int32), -1, 0)
    return np.add(red, 256 * green, dtype=np.int32)
