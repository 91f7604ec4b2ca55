"""The table of projections: its schema, and its rows as arrays for the analyses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from classlens.models.card import Card
from classlens.storage import parquet
from classlens.vocabulary import PROJECTED_SITES


def schema(top_k: int) -> pa.Schema:
    """Return the schema of projections: rows (image, token, site, block)."""
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


def class_schema(tokens: int) -> pa.Schema:
    """Return the schema of the logits of classes of interest: rows (image, class, site, block) with the logit at every token."""
    keys = [("image_id", pa.int32()), ("class_index", pa.int32()), ("site", pa.dictionary(pa.int8(), pa.string())), ("block", pa.int16())]
    return pa.schema([*keys, ("logit", pa.list_(pa.float32(), tokens))])


@dataclass(frozen=True)
class Projections:
    """Projections of some images, as arrays.

    Attributes:
        image_ids: [image].
        rank: rank of the true class, [image, token, site, block].
        logit: logit of the true class, same shape.
        top: classes with the largest logits, in descending order, [image, token, site, block, top].
        top_logit: logits of these classes, same shape; None if not read.
        sites: names of the third axis. Files of random twins hold fewer sites.
    """

    image_ids: list[int]
    rank: np.ndarray
    logit: np.ndarray
    top: np.ndarray
    top_logit: np.ndarray | None = None
    sites: tuple[str, ...] = PROJECTED_SITES

    def of(self, measure: np.ndarray, site: str) -> np.ndarray:
        """Return one site of an array, [image, token, block, ...]."""
        return measure[:, :, self.sites.index(site)]


def read(paths: list[Path], card: Card, top_logits: bool = False) -> Iterator[Projections]:
    """Yield the projections in shards, one row group at a time, in the order of the images.

    Args:
        paths: shards of projections.
        card: the model's card.
        top_logits: whether to read the logits of `top`.

    Raises:
        InputError: a shard is damaged, or belongs to another model.
    """
    for path in paths:
        table = parquet.StoredTable(path, card.sha256)
        top = next(name for name in table.names if name.startswith("top"))
        for group in table.groups(["image_id", "site", "rank", "logit", top, *([f"{top}_logit"] if top_logits else [])]):
            sites = sites_of(group, card)
            shape = (-1, card.tokens, len(sites), card.depth)
            lists = (*shape, group[top].type.list_size)
            yield Projections(
                group["image_id"].to_numpy()[:: card.tokens * len(sites) * card.depth].tolist(),
                group["rank"].to_numpy().reshape(shape),
                group["logit"].to_numpy().reshape(shape),
                parquet.values_of(group[top]).reshape(lists),
                parquet.values_of(group[f"{top}_logit"]).reshape(lists) if top_logits else None,
                sites,
            )


def sites_of(group: pa.Table, card: Card) -> tuple[str, ...]:
    """Return the sites in the rows of `group`, in their order."""
    return tuple(group["site"].slice(0, len(PROJECTED_SITES) * card.depth).unique().cast(pa.string()).to_pylist())


def sites_in(path: Path, card: Card) -> tuple[str, ...]:
    """Return the sites that a shard of projections holds, in the order of its rows.

    Raises:
        InputError: the shard is damaged, or belongs to another model.
    """
    return sites_of(next(parquet.StoredTable(path, card.sha256).groups(["site"])), card)


def read_classes(path: Path, card: Card) -> Iterator[dict[int, tuple[list[int], np.ndarray]]]:
    """Yield the logits of classes of interest in a shard, one row group at a time.

    Each item maps an image id to its classes and their logits [class, site, block, token].

    Raises:
        InputError: the shard is damaged, or belongs to another model.
    """
    for group in parquet.StoredTable(path, card.sha256).groups():
        sites = len(sites_of(group, card))
        each = sites * card.depth
        images, classes = (group[name].to_numpy()[::each] for name in ("image_id", "class_index"))
        logits = parquet.values_of(group["logit"]).reshape(-1, sites, card.depth, card.tokens)
        starts = np.flatnonzero(np.diff(images, prepend=-1))
        ends = [*starts[1:], len(images)]
        yield {int(images[start]): (classes[start:end].tolist(), logits[start:end]) for start, end in zip(starts, ends, strict=True)}
