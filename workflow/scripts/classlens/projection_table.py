"""The table of projections: its columns, and its rows as arrays for the analyses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from classlens import storage
from classlens.card import Card

SITES = ("resid_post", "resid_mid", "attn_out", "mlp_out")


def schema(top_k: int) -> pa.Schema:
    """Schema of projections: rows (image, token, site, block)."""
    return pa.schema(
        [
            ("image_id", pa.int32()),
            ("token", pa.int16()),
            ("site", pa.dictionary(pa.int8(), pa.string())),
            ("block", pa.int16()),
            ("rank", pa.int32()),
            ("logit", pa.float32()),
            (f"top{top_k}", pa.list_(pa.int32(), top_k)),
            (f"top{top_k}_logit", pa.list_(pa.float32(), top_k)),
        ]
    )


def class_schema(card: Card) -> pa.Schema:
    """Schema of the logits of classes of interest: rows (image, class, site, block) with the logit at every token."""
    keys = [("image_id", pa.int32()), ("class_index", pa.int32()), ("site", pa.dictionary(pa.int8(), pa.string())), ("block", pa.int16())]
    return pa.schema([*keys, ("logit", pa.list_(pa.float32(), card.tokens))])


@dataclass(frozen=True)
class Projections:
    """Projections of some images as arrays.

    Attributes:
        image_ids: [image].
        rank: rank of the true class, [image, token, site, block].
        logit: logit of the true class, same shape.
        top: class with the largest logit, same shape.
    """

    image_ids: list[int]
    rank: np.ndarray
    logit: np.ndarray
    top: np.ndarray

    def of(self, measure: np.ndarray, site: str) -> np.ndarray:
        """One site of one of the arrays, [image, token, block]."""
        return measure[:, :, SITES.index(site)]


def read(paths: list[Path], card: Card) -> Iterator[Projections]:
    """The projections in shards, one row group at a time, in the order of the images.

    Raises:
        InputError: a shard is damaged.
    """
    for path in paths:
        table = storage.StoredTable(path, card.sha256)
        top = next(name for name in table.names if name.startswith("top"))
        for group in table.groups(["image_id", "rank", "logit", top]):
            shape = (-1, card.tokens, len(SITES), card.depth)
            best = group[top].combine_chunks()
            best = best.flatten().to_numpy().reshape(len(group), -1)[:, 0]
            images = group["image_id"].to_numpy()[:: card.tokens * len(SITES) * card.depth].tolist()
            yield Projections(
                images, group["rank"].to_numpy().reshape(shape), group["logit"].to_numpy().reshape(shape), best.reshape(shape)
            )
