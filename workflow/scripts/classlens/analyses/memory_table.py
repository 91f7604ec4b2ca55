"""The table of memory keys: its schema, and its rows as arrays for the analyses."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from classlens.models.card import Card
from classlens.storage import parquet
from classlens.vocabulary import SUBLAYERS

ACTIVE = 5
"""Number of active memories per token and layer: those with the largest coefficients."""

SCHEMA = pa.schema(
    [
        ("image_id", pa.int32()),
        ("token", pa.int16()),
        ("layer", pa.dictionary(pa.int8(), pa.string())),
        ("block", pa.int16()),
        ("memory", pa.list_(pa.int16(), ACTIVE)),
        ("coefficient", pa.list_(pa.float32(), ACTIVE)),
    ]
)


def read(path: Path, card: Card, column: str = "memory") -> tuple[list[int], np.ndarray]:
    """Return the active memories of a shard, or their coefficients.

    Args:
        path: shard of memory keys.
        card: the model's card.
        column: `memory` or `coefficient`.

    Returns:
        image ids, and values [image, token, layer, block, ACTIVE]. Layers have the order of `SUBLAYERS`; the memory with the largest
        coefficient comes first.

    Raises:
        InputError: the shard is damaged, or belongs to another model.
    """
    table = parquet.read_table(path, ["image_id", "block", column], card.sha256)
    blocks = 1 + int(table["block"].to_numpy().max())
    rows = card.tokens * len(SUBLAYERS) * blocks
    values = parquet.values_of(table[column]).reshape(-1, card.tokens, len(SUBLAYERS), blocks, ACTIVE)
    return table["image_id"].to_numpy()[::rows].tolist(), values
