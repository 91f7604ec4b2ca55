"""Safe reading of image and mask files: every fault becomes an error that names the file."""

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
from classlens.progress import log
from classlens.storage.fingerprints import forget

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")
"""Formats that Pillow may try, whatever a file's name: still images that their first bytes identify, and no format that runs a program."""

LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF")
"""Formats that change pixel values. Masks must have another format."""

IGNORED_ID = 1000
"""Id of the ignored pixels in an ImageNet-S mask."""

MADE = ("images", "masks")
"""Folders for images and masks that the workflow makes, among a data set's results."""

MADE_MARK = ".snakemake_timestamp"
"""File that Snakemake writes into a folder that a rule has made."""


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes and their hexadecimal sha256.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would never end
            raise InputError(f"{path} is not a regular file: {_mend(path, 'replace it, or set on_bad_image: skip')}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {_mend(path, 'restore the file, or set on_bad_image: skip')}") from None
    return data, hashlib.sha256(data).hexdigest()


def read_unchanged(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file, which must not have changed since the manifest was made.

    Raises:
        InputError: the file is missing, or has changed.
    """
    data, digest = read_bytes(path)
    if digest != sha256:
        forget(path)  # otherwise the next run trusts the old fingerprint if size and dates are equal
        raise InputError(f"{path} has changed since the manifest was made: {_mend(path, 'run the workflow again')}")
    return data


def _mend(path: Path, otherwise: str) -> str:
    """Return what to do about a broken file: `otherwise`, but what the workflow made is made anew if its data set's results are deleted."""
    # A person's own folders may have these names too, and must never be called ours.
    marked = any((folder / MADE_MARK).exists() for folder in path.parents)
    made = (folder.parent for folder in path.parents if marked and folder.name in MADE)
    results = next((folder for folder in made if any(folder.glob("*/manifest.parquet"))), None)
    return f"the workflow made it, so delete the folder {results} and run the workflow again" if results else otherwise


def read_image(row: dict[str, Any], root: Path) -> Image.Image:
    """Return the image of a row of a manifest, as 8-bit RGB.

    Raises:
        InputError: the file is missing, or has changed since the manifest was made.
    """
    path = root / row["path"]
    return to_rgb(decode(read_unchanged(path, row["sha256"]), path))


def decode(data: bytes, path: Path) -> Image.Image:
    """Return the image in a file's bytes, decoded in its own mode. An animation gives its first frame.

    Raises:
        InputError: the bytes are not an image, are cut short, or have too many pixels.
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
    """Return an image as 8-bit RGB. 16-bit grey is scaled, not clipped, and transparency is dropped."""
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.float64)
        image = Image.fromarray((grey * (255 / 65535)).round().clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def check_range(image: Image.Image, path: Path) -> None:
    """Raise an InputError if the range of the pixel values is unknown, because the image's brightness would be a guess."""
    if image.mode == "F":
        raise InputError(f"{path} holds floating-point pixels of unknown range: save it with 8 or 16 bits per channel")
    if image.mode == "I" and (np.asarray(image).min() < 0 or np.asarray(image).max() > 65535):
        raise InputError(f"{path} holds values outside of the 16-bit range: save it with 8 or 16 bits per channel")


def leave_out(error: InputError, skip: bool, what: str = "left out") -> None:
    """Log why an image is not used if bad images may be left out (`on_bad_image: skip`), or else raise the error.

    Args:
        error: why it is not used.
        skip: whether bad images may be left out.
        what: what the log says of it.
    """
    if not skip:
        raise error
    log.warning("%s: %s", what, error)


def decode_exact(data: bytes, path: Path) -> Image.Image:
    """Return the image in the bytes of a mask file, decoded in its own mode.

    Raises:
        InputError: the bytes are not an image, or its format does not keep pixel values.
    """
    image = decode(data, path)
    if image.format in LOSSY:
        raise InputError(f"mask {path} is a {image.format} file, and this format changes pixel values: create the mask again as PNG")
    return image


def decode_mask(data: bytes, path: Path, binary: bool) -> np.ndarray:
    """Return the class ids of the pixels of a mask file (`mask_ids`).

    Raises:
        InputError: the bytes are not a mask, or the object in it is ambiguous.
    """
    image = decode_exact(data, path)
    try:
        return mask_ids(image, binary)
    except ValueError as error:
        raise InputError(f"mask {path} {error}") from None


def mask_ids(image: Image.Image, binary: bool) -> np.ndarray:
    """Return the class ids of a decoded mask's pixels, int32 [height, width].

    Args:
        image: the mask.
        binary: True for a mask of one object, with ids 0 and 1; False for an ImageNet-S mask, with ids R + 256 G.

    Raises:
        ValueError: the mask is ambiguous.
    """
    return _object(image).astype(np.int32) if binary else _coded(image)


def _object(image: Image.Image) -> np.ndarray:
    """Return where the object of a binary mask is, bool [height, width].

    If a mask is transparent in some places only, the object is the visible part. Otherwise the object is where the value is not 0: the
    palette index of a mask with a palette, the colour of any other mask.
    """
    alpha = _alpha(image)
    if alpha is not None and alpha.any() and not alpha.all():
        return alpha > 0
    return _indexed(image) if image.mode in ("P", "PA") else _values(image) != 0


def _alpha(image: Image.Image) -> np.ndarray | None:
    """Return the opacity of each pixel, uint8 [height, width], or None if the file stores none."""
    if image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.getchannel(image.getbands()[-1])) if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") else None


def _values(image: Image.Image) -> np.ndarray:
    """Return the largest channel value of each pixel, [height, width]."""
    pixels = np.asarray(image if _is_deep(image) else image.convert("RGB"))
    return pixels.reshape(*pixels.shape[:2], -1).max(axis=-1)


def _is_deep(image: Image.Image) -> bool:
    """Return whether an image has one channel with more than 8 bits."""
    return image.mode in ("F", "I") or image.mode.startswith("I;16")


def _indexed(image: Image.Image) -> np.ndarray:
    """Return where the palette index is not 0, bool [height, width], and raise a ValueError if the palette's colours contradict this."""
    by_index = np.asarray(image.getchannel("P")) != 0
    by_colour = _values(image) != 0
    if by_colour.any() and not by_colour.all() and (by_colour != by_index).any():
        raise ValueError(
            "has a palette in which index 0 is not black, or another index is black: save it as grey, with 0 outside the object"
        )
    return by_index


def _coded(image: Image.Image) -> np.ndarray:
    """Return the class ids of an ImageNet-S mask, int32 [height, width], from its colours or those of its palette. Alpha is ignored."""
    if _is_deep(image) and np.asarray(image).any():
        raise ValueError("is grey, but class ids must be coded as R + 256 G: get the masks of this data set")
    pixels = np.asarray(image.convert("RGB"), np.int32)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    if pixels.any() and (red == green).all() and (red == blue).all():
        raise ValueError("is grey, but class ids must be coded as R + 256 G: get the masks of this data set")
    return np.add(red, 256 * green, dtype=np.int32)
