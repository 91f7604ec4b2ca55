"""Reading image and mask files safely: every fault becomes an error that names the file."""

import hashlib
import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from classlens.errors import InputError
from classlens.storage.fingerprints import forget

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")
"""What Pillow may take a file for, whatever its name: still images that their first bytes tell, and no format that runs a program."""

LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF")
"""Formats that change the values of pixels, as no mask may."""

IGNORED_ID = 1000
"""Id of the pixels of an ImageNet-S mask that are to be ignored."""


def read_bytes(path: Path) -> tuple[bytes, str]:
    """A file's bytes and their hexadecimal sha256.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be read for ever
            raise InputError(f"{path} is not a regular file: replace it, or set on_bad_image: skip")
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
            image = Image.open(io.BytesIO(data), formats=FORMATS)
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


def check_range(image: Image.Image, path: Path) -> None:
    """Raise an InputError for an image whose numbers have no known range, so that how bright it is would be a guess."""
    if image.mode == "F":
        raise InputError(f"{path} holds fractions, of which nobody knows what is white: save it with 8 or 16 bits per channel")
    if image.mode == "I" and (np.asarray(image).min() < 0 or np.asarray(image).max() > 65535):
        raise InputError(f"{path} holds values beyond those of 16 bits: save it with 8 or 16 bits per channel")


def decode_mask(data: bytes, path: Path, binary: bool) -> np.ndarray:
    """The class ids of the pixels of a mask's file (`mask_ids`).

    Raises:
        InputError: the bytes are no mask, or what they mark as the object is ambiguous.
    """
    image = decode(data, path)
    if image.format in LOSSY:
        raise InputError(f"mask {path} is a {image.format} file, which does not keep values: make it anew as PNG")
    try:
        return mask_ids(image, binary)
    except ValueError as error:
        raise InputError(f"mask {path} {error}") from None


def mask_ids(image: Image.Image, binary: bool) -> np.ndarray:
    """Class ids of a decoded mask's pixels, int32 [height, width].

    Args:
        image: the mask.
        binary: True for a mask of one object, whose ids are then 0 and 1; False for ImageNet-S, R + 256 G.

    Raises:
        ValueError: it can be read in two ways.
    """
    return _object(image).astype(np.int32) if binary else _coded(image)


def _object(image: Image.Image) -> np.ndarray:
    """Where the object of a binary mask is, bool [height, width].

    A mask that is transparent in some places and not in others is a cut-out: the object is what can be seen. Otherwise the object is what
    is not 0: the index of a mask with a palette, the colour of any other.
    """
    alpha = _alpha(image)
    if alpha is not None and alpha.any() and not alpha.all():
        return alpha > 0
    return _indexed(image) if image.mode in ("P", "PA") else _values(image) != 0


def _alpha(image: Image.Image) -> np.ndarray | None:
    """Opacity of each pixel, uint8 [height, width]; None where the file says nothing about it."""
    if image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.getchannel(image.getbands()[-1])) if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") else None


def _values(image: Image.Image) -> np.ndarray:
    """The largest value of each pixel, [height, width]."""
    pixels = np.asarray(image if _is_deep(image) else image.convert("RGB"))
    return pixels.reshape(*pixels.shape[:2], -1).max(axis=-1)


def _is_deep(image: Image.Image) -> bool:
    """Whether it has one channel of more than 8 bits."""
    return image.mode in ("F", "I") or image.mode.startswith("I;16")


def _indexed(image: Image.Image) -> np.ndarray:
    """Where the palette index is not 0, unless colours that are black in some places only say otherwise."""
    by_index = np.asarray(image.getchannel("P")) != 0
    by_colour = _values(image) != 0
    if by_colour.any() and not by_colour.all() and (by_colour != by_index).any():
        raise ValueError("has a palette in which index 0 is not black, or black has another index: save it as grey, 0 outside the object")
    return by_index


def _coded(image: Image.Image) -> np.ndarray:
    """Class ids of an ImageNet-S mask, int32 [height, width]: colours are numbers, also those of a palette, and alpha says nothing."""
    if _is_deep(image) and np.asarray(image).any():
        raise ValueError("is grey, and class ids are R + 256 G: get the masks of this data set")
    pixels = np.asarray(image.convert("RGB"), np.int32)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    if pixels.any() and (red == green).all() and (red == blue).all():
        raise ValueError("is grey, and class ids are R + 256 G: get the masks of this data set")
    return np.add(red, 256 * green, dtype=np.int32)
