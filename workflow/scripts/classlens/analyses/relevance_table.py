"""The tables of relevance maps: their schemas, their rows, and maps as arrays for the analyses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from classlens.models.card import Card
from classlens.storage import parquet
from classlens.vocabulary import METHODS

SHOWN = pa.schema([*((name, pa.int32()) for name in ("image_id", "class_index", "height", "width")), ("pixels", pa.binary())])


def schema(card: Card) -> pa.Schema:
    """Return the schema of maps: rows (method, image, class)."""
    method = pa.dictionary(pa.int8(), pa.string())
    keys = [("method", method), ("image_id", pa.int32()), ("class_index", pa.int32())]
    return pa.schema([*keys, ("relevance", pa.list_(pa.float32(), card.image_tokens))])


def heads_schema(card: Card) -> pa.Schema:
    """Return the schema of maps per head: rows (method, image, class, block, head)."""
    fields = list(schema(card))
    return pa.schema([*fields[:3], pa.field("block", pa.int16()), pa.field("head", pa.int16()), fields[3]])


@dataclass(frozen=True)
class Maps:
    """Relevance maps of some images for some classes.

    Attributes:
        image_ids: [map].
        classes: class index, [map].
        heads: maps of our method for each head, [map, block, head, image token].
        maps: maps of each method, [map, image token]; NaN where a method has none: class-agnostic methods have only the true class's.
    """

    image_ids: np.ndarray
    classes: np.ndarray
    heads: np.ndarray
    maps: dict[str, np.ndarray]

    def table(self, card: Card) -> pa.RecordBatch:
        """Return rows (method, image, class)."""
        parts = [(name, ~np.isnan(values[:, 0]), values) for name, values in self.maps.items()]
        method = np.concatenate([np.full(there.sum(), METHODS.index(name), np.int8) for name, there, _ in parts])
        image = np.concatenate([self.image_ids[there] for _, there, _ in parts])
        index = np.concatenate([self.classes[there] for _, there, _ in parts])
        values = np.concatenate([values[there] for _, there, values in parts]).astype(np.float32)
        arrays = [named(method), pa.array(image), pa.array(index), _lists(values)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema(card))

    def table_of_heads(self, card: Card) -> pa.RecordBatch:
        """Return rows (method, image, class, block, head) of our method."""
        count, depth, heads, _ = self.heads.shape
        each = depth * heads
        arrays = [
            named(np.full(count * each, METHODS.index("ours"), np.int8)),
            pa.array(np.repeat(self.image_ids, each)),
            pa.array(np.repeat(self.classes, each)),
            pa.array(np.tile(np.repeat(np.arange(depth, dtype=np.int16), heads), count)),
            pa.array(np.tile(np.arange(heads, dtype=np.int16), count * depth)),
            _lists(self.heads.astype(np.float32)),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=heads_schema(card))


def named(method: np.ndarray) -> pa.DictionaryArray:
    """Return the names of methods, from their places in `METHODS`."""
    return pa.DictionaryArray.from_arrays(pa.array(method), pa.array(METHODS))


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[-1])


def probe_table(probes: pl.DataFrame, classes: dict[int, int], card: Card) -> pa.RecordBatch:
    """Return maps of the linear probes: minus the rank of the true class at each image token, summed over the outputs of all blocks.

    Args:
        probes: rows (site, block, token, image_id) with rank.
        classes: class index of each image id.
        card: the model's card.
    """
    outputs = probes.filter(pl.col("site").cast(pl.String) == "resid_post", pl.col("token") >= card.prefix_tokens)
    summed = outputs.group_by("image_id", "token").agg(pl.col("rank").sum()).sort("image_id", "token")
    values = -summed["rank"].to_numpy().reshape(-1, card.image_tokens).astype(np.float32)
    images = summed["image_id"].to_numpy()[:: card.image_tokens]
    index = np.array([classes[image] for image in images.tolist()], np.int32)
    method = np.full(len(images), METHODS.index("probe"), np.int8)
    return pa.RecordBatch.from_arrays([named(method), pa.array(images), pa.array(index), _lists(values)], schema=schema(card))


def shown_table(rows: list[dict[str, Any]], pixels: list[np.ndarray]) -> pa.Table:
    """Return the images of a figure.

    Args:
        rows: manifest rows of the images.
        pixels: model input of each image before normalisation, uint8 [height, width, 3].
    """
    sizes = [{"height": len(seen), "width": seen.shape[1], "pixels": seen.tobytes()} for seen in pixels]
    return pa.Table.from_pylist([{**row, **size} for row, size in zip(rows, sizes, strict=True)], SHOWN)


def true_class_maps(path: Path, classes: dict[int, int], model: str) -> dict[str, tuple[list[int], np.ndarray]]:
    """Return maps for the true classes by method: ascending image ids, and maps [image, image token].

    Args:
        path: table of relevance maps.
        classes: class index of each image id.
        model: sha256 of the model weights that the table must come from.

    Raises:
        InputError: the table is damaged, or belongs to another model.
    """
    frame = pl.DataFrame(parquet.read_table(path, model=model)).cast({"method": pl.String})
    keys = {"image_id": pl.Int32, "class_index": pl.Int32}
    own = pl.DataFrame({"image_id": list(classes), "class_index": list(classes.values())}, keys)
    rows = frame.join(own, on=list(keys), how="semi").sort("image_id")
    parts = {method: rows.filter(method=method) for method in METHODS if method in rows["method"]}
    return {method: (part["image_id"].to_list(), np.array(part["relevance"].to_list(), np.float32)) for method, part in parts.items()}
