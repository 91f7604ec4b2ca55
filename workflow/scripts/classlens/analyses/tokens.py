"""Labels of image tokens from the masks: class, context or ignored.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4. See docs/analyses/context.md.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classlens.data.geometry import Geometry
from classlens.data.images import IGNORED_ID, decode_mask, read_unchanged
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.vocabulary import TOKEN_LABELS

SCHEMA = pa.schema(
    [
        ("image_id", pa.int32()),
        ("token", pa.int16()),
        ("label", pa.dictionary(pa.int8(), pa.string())),
        ("class_fraction", pa.float32()),
    ]
)


def sampled_labels(ids: np.ndarray, class_id: int, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels from one pixel per patch of the whole mask: class or, for all other pixels, context.

    The pixel of patch i of G has the index floor(i * size / G) on each axis.

    Args:
        ids: class ids of the mask's pixels, [height, width].
        class_id: id of the image's class.
        grid: rows and columns of patches.

    Returns:
        indices into `TOKEN_LABELS`, and shares of the class (0 or 1), each [patch].
    """
    rows = np.arange(grid[0]) * ids.shape[0] // grid[0]
    columns = np.arange(grid[1]) * ids.shape[1] // grid[1]
    is_class = (ids[np.ix_(rows, columns)] == class_id).ravel()
    return np.where(is_class, 0, 1), is_class.astype(np.float32)


def area_labels(ids: np.ndarray, class_id: int, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels by the area of each patch: class if at least half is class, ignored if more than half is ignored, context otherwise.

    Args:
        ids: class ids of the transformed mask's pixels, [height, width]. Height and width are multiples of the grid's rows and columns.
        class_id: id of the image's class.
        grid: rows and columns of patches.

    Returns:
        indices into `TOKEN_LABELS`, and shares of the class, each [patch].
    """
    height, width = ids.shape[0] // grid[0], ids.shape[1] // grid[1]
    patches = ids.reshape(grid[0], height, grid[1], width).swapaxes(1, 2).reshape(grid[0] * grid[1], -1)
    fraction = (patches == class_id).mean(axis=1)
    ignored = (patches == IGNORED_ID).mean(axis=1) > 0.5
    return np.where(fraction >= 0.5, 0, np.where(ignored, 2, 1)), fraction.astype(np.float32)


def read_mask(row: dict[str, Any], root: Path, binary: bool) -> np.ndarray:
    """Return the class ids of the pixels of an image's mask, [height, width].

    Args:
        row: manifest row of the image.
        root: folder of the data set.
        binary: see `images.mask_ids`.

    Raises:
        InputError: the mask is missing, or has changed since the manifest was made.
    """
    path = root / row["mask_path"]
    return decode_mask(read_unchanged(path, row["mask_sha256"]), path, binary)


def label_image(row: dict[str, Any], root: Path, card: Card, binary: bool, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and class fractions of one image's tokens, each [image token].

    Raises:
        InputError: the mask is missing, or has changed since the manifest was made.
    """
    ids = read_mask(row, root, binary)
    if protocol.whole_image_labels:
        return sampled_labels(ids, row["mask_id"], card.grid)
    return area_labels(Geometry(card.transform).mask(ids), row["mask_id"], card.grid)


def table(manifest: pa.Table, root: Path, card: Card, protocol: Protocol) -> pa.Table:
    """Return rows (image, image token) for every image with a mask.

    Args:
        manifest: manifest of the split.
        root: folder of the data set.
        card: card of the model whose tokens get labels.
        protocol: chooses how masks become labels.

    Raises:
        InputError: a mask cannot be used.
    """
    binary = manifest.schema.metadata[b"masks"] == b"binary"
    rows = [row for row in manifest.to_pylist() if row["mask_path"]]
    labelled = [label_image(row, root, card, binary, protocol) for row in progress(rows, len(rows), "token labels")]
    images = np.repeat(np.array([row["image_id"] for row in rows], np.int32), card.image_tokens)
    token = np.tile(np.arange(card.prefix_tokens, card.tokens, dtype=np.int16), len(rows))
    label = np.concatenate([labels for labels, _ in labelled]).astype(np.int8)
    fraction = np.concatenate([fractions for _, fractions in labelled])
    arrays = [
        pa.array(images),
        pa.array(token),
        pa.DictionaryArray.from_arrays(pa.array(label), pa.array(TOKEN_LABELS)),
        pa.array(fraction),
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
