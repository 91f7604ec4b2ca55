"""SaCo: whether groups of tokens that a relevance map calls more relevant also change the model's output more.

A deletion curve removes more and more tokens and uses only their order. SaCo (salience-guided faithfulness coefficient) removes one group
of tokens at a time and compares how much each group matters with the relevance that the map gives it. Image tokens are split into groups
along the order of the map. For each pair of groups, the difference of their mean relevance counts for the map if the probability of the
class falls at least as much without the more relevant group, and against it otherwise. The coefficient is 1 if all pairs agree, and -1 if
none does.

Source: Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024. See docs/analyses/deletion.md.
"""

from itertools import combinations

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from classlens import statistics
from classlens.analyses.deletion import outputs, probability_of, removal_order
from classlens.analyses.deletion_curves import paired_differences, tested_pairs
from classlens.analyses.relevance_table import named
from classlens.compute.transfer import tensors_to_host
from classlens.data.batches import Batch
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.vocabulary import METHODS

GROUPS = 10
"""Number of groups of tokens in each image; a model with fewer image tokens has a group per token."""

SCHEMA = pa.schema([("method", pa.dictionary(pa.int8(), pa.string())), ("image_id", pa.int32()), ("saco", pa.float64())])
"""Rows (method, image); NaN if all groups of a map have the same mean relevance."""


def groups(image_tokens: int) -> list[slice]:
    """Return the groups' places in an order of image tokens, from the most relevant group to the least relevant."""
    parts = np.array_split(np.arange(image_tokens), min(GROUPS, image_tokens))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def saco(salience: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Return the coefficient of each map, [...]; NaN if its groups all have the same salience.

    Args:
        salience: mean relevance of each group, in falling order, [..., group].
        drop: loss of probability without each group, [..., group].
    """
    first, second = np.array(list(combinations(range(salience.shape[-1]), 2))).reshape(-1, 2).T
    weights = salience[..., first] - salience[..., second]
    agrees = drop[..., first] >= drop[..., second]
    total = np.abs(weights).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.where(agrees, weights, -weights).sum(axis=-1) / np.where(total > 0, total, np.nan)


def scores(model: ViT, lens: Lens, batch: Batch, maps: np.ndarray, breaker: np.ndarray | None) -> np.ndarray:
    """Return the coefficient of each map of a batch of images, [method, image].

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: its lens.
        batch: the images.
        maps: relevance for the images' classes, [method, image, image token].
        breaker: random numbers [image, image token] that break ties (`removal_order`).
    """
    order = removal_order(maps, "positive", None if breaker is None else np.broadcast_to(breaker, maps.shape))
    ranked = np.take_along_axis(maps, order, axis=-1)
    places = groups(maps.shape[-1])
    salience = np.stack([ranked[..., place].mean(axis=-1, dtype=np.float64) for place in places], axis=-1)
    drop = drops(model, lens, batch, torch.from_numpy(np.ascontiguousarray(order)), places)
    return saco(salience, drop.numpy().astype(np.float64))


@torch.inference_mode()
def drops(model: ViT, lens: Lens, batch: Batch, orders: Tensor, places: list[slice]) -> Tensor:
    """Return how much the probability of each image's class falls without each group of tokens, [method, image, group], on the CPU.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: its lens.
        batch: the images.
        orders: image tokens in falling order of relevance, int64 [method, image, image token], on the CPU.
        places: the groups' places in an order.
    """
    states = token_pruning.embed(model, batch.images)
    intact = probability_of(outputs(model, lens, states, orders[:1]), batch.classes)
    kept = [torch.cat([orders[..., : place.start], orders[..., place.stop :]], dim=-1) for place in places]
    left = [probability_of(outputs(model, lens, states, tokens), batch.classes) for tokens in kept]
    return tensors_to_host(torch.stack([intact - probability for probability in left], dim=-1))[0]


def table(methods: list[str], image_ids: list[int], found: np.ndarray) -> pa.RecordBatch:
    """Return rows (method, image) from coefficients [method, image]."""
    method = np.repeat(np.array([METHODS.index(name) for name in methods], np.int8), len(image_ids))
    images = np.tile(np.asarray(image_ids, np.int32), len(methods))
    return pa.RecordBatch.from_arrays([named(method), pa.array(images), pa.array(found.ravel())], schema=SCHEMA)


def tables(frame: pl.DataFrame, protocol: Protocol, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the mean coefficient of each method, and the differences of all pairs of methods, over images.

    Args:
        frame: rows (method, image_id) with saco.
        protocol: number of permutations.
        seed: seed of the resampling and of the permutations.

    Returns:
        two tables. The first has rows (method) with saco, saco_low, saco_high, saco_n (images that have a coefficient) and undefined
        (images without). The second has rows (method, other) like those of `deletion_curves.differences`, with measure `saco`, over the
        images that have a coefficient for both.
    """
    values = {
        str(method): rows.sort("image_id")["saco"].to_numpy()
        for (method,), rows in frame.cast({"method": pl.String}).group_by("method", maintain_order=True)
    }
    rows = []
    for method, own in values.items():
        undefined = int(np.isnan(own).sum())
        rows.append({"method": method, **statistics.row("saco", own, seed, "mean"), "saco_n": len(own) - undefined, "undefined": undefined})
    pairs = [{"measure": "saco", "order": None, **pair} for pair in paired_differences(values, protocol, seed)]
    floats = dict.fromkeys(("saco", "saco_low", "saco_high"), pl.Float64)
    origin = [pl.lit(statistics.RESAMPLES).alias("resamples"), pl.lit(seed).alias("seed"), pl.lit(protocol.name).alias("protocol")]
    means = pl.DataFrame(rows, schema_overrides=floats, infer_schema_length=None).with_columns(origin)
    return means, tested_pairs(pairs, protocol, seed)
