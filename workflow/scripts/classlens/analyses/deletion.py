"""How accuracy falls as image tokens are removed in the order of a relevance map.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5; methods, section 9. Tokens are removed for real (`kept_tokens`).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.relevance import random_map
from classlens.data.batches import Batch
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.vocabulary import METHODS, ORDERS

RANDOM_DRAWS = 10
TIE_DRAWS = 5
"""Random strict orders that stand for a map with ties."""
# Curves of one step run together, as many as keep the arithmetic units busy when few tokens are left.
TOKENS_AT_ONCE = 4096


def steps(image_tokens: int, count: int | None, pooled: bool, protocol: Protocol) -> list[int]:
    """Numbers of image tokens that are removed, ascending.

    Args:
        image_tokens: number N of image tokens.
        count: how many numbers, evenly spread over all; None for every number.
        pooled: whether the model averages image tokens, of which it then must keep one.
        protocol: `deletion_without_ends` leaves out 0 and N.
    """
    first, last = (1, image_tokens - 1) if protocol.deletion_without_ends else (0, image_tokens - pooled)
    if count is None or count > last - first:
        return list(range(first, last + 1))
    return sorted({int(step) for step in np.linspace(first, last, count).round()})


def removal_order(relevance: np.ndarray, order: str, breaker: np.ndarray | None = None) -> np.ndarray:
    """Return image tokens in the order in which they are removed, [..., token].

    Args:
        relevance: [..., token].
        order: `negative` removes the least relevant token first, `positive` the most relevant; one is the reverse of the other.
        breaker: random numbers [..., token] that order tokens of equal relevance; None keeps such tokens in their position's order, in
            both orders, as published.
    """
    if breaker is None:
        return np.argsort(relevance if order == "negative" else -relevance, axis=-1, kind="stable")
    ascending = np.lexsort((breaker, relevance), axis=-1)
    return ascending if order == "negative" else ascending[..., ::-1]


def has_ties(relevance: np.ndarray) -> bool:
    """Return whether some map [map, token] gives two tokens one value, so that it does not order them."""
    return bool((np.diff(np.sort(relevance, axis=-1), axis=-1) == 0).any())


@torch.inference_mode()
def correct_after_removal(model: ViT, lens: Lens, batch: Batch, orders: Tensor, removed: list[int]) -> Tensor:
    """Whether the model is still right after each number of removals, bool [curve, image, step].

    Args:
        model: a model that `token_pruning.check` lets pass.
        lens: its lens.
        batch: the images.
        orders: image tokens in the order of removal, int64 [curve, image, image token].
        removed: numbers of removed tokens.
    """
    states = token_pruning.embed(model, batch.images)
    curves, count, tokens = orders.shape
    prefix = torch.arange(lens.prefix_tokens, device=orders.device)
    result = torch.empty(curves, count, len(removed), dtype=torch.bool, device=batch.images.device)
    for step, number in enumerate(progress(removed, len(removed), f"removing tokens of {count} images", "steps")):
        # All curves begin and end alike: with everything, and with nothing.
        distinct = orders if 0 < number < tokens else orders[:1]
        kept = distinct[:, :, number:].sort(dim=-1).values + lens.prefix_tokens
        positions = torch.cat([prefix.expand(*kept.shape[:2], -1), kept], dim=-1).flatten(0, 1)
        rows = torch.arange(count, device=orders.device).repeat(len(distinct))
        at_once = max(1, TOKENS_AT_ONCE // token_pruning.tokens_run(model, states.shape[1], positions.shape[1]))
        parts = zip(rows.split(at_once), positions.split(at_once), strict=True)
        predicted = torch.cat([_predicted(model, lens, states, row, position) for row, position in parts])
        result[:, :, step] = predicted.view(len(distinct), count) == batch.classes
    return result


def _predicted(model: ViT, lens: Lens, states: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Predicted classes [row] of images `rows` with only the tokens at positions [row, kept]."""
    return token_pruning.run(model, lens, token_pruning.at(model, states, rows, positions))[1].argmax(dim=-1)


def schema(count: int) -> pa.Schema:
    """Schema of a deletion per image: rows (method, order, draw, image) with the correctness after each number of removals."""
    name = pa.dictionary(pa.int8(), pa.string())
    fields = [("method", name), ("order", name), ("draw", pa.int8()), ("image_id", pa.int32()), ("correct", pa.list_(pa.bool_(), count))]
    return pa.schema(fields)


@dataclass(frozen=True)
class Curve:
    """One order of removal for every image.

    Attributes:
        method: which maps it follows; for random orders `random`.
        order: `negative` or `positive`.
        draw: number of the random draw; 0 where there is one order only.
        removal: image tokens in the order in which they are removed, [image, token].
    """

    method: str
    order: str
    draw: int
    removal: np.ndarray


def curves(maps: dict[str, np.ndarray], image_ids: list[int], tied: set[str], seed: int, protocol: Protocol) -> list[Curve]:
    """Return all curves of a model: both orders of every method, and random orders, which have no direction and are run once.

    Args:
        maps: relevance [image, token] by method.
        image_ids: [image].
        tied: methods with ties in the map of some image, each of which has `TIE_DRAWS` random strict orders.
        seed: seed of the random orders.
        protocol: `ties_by_position` has one order instead.
    """
    tokens = next(iter(maps.values())).shape[1]
    draws = [np.stack([random_map(seed, draw, image, tokens) for image in image_ids]) for draw in range(RANDOM_DRAWS)]
    found = []
    for method, values in ((method, values) for method, values in maps.items() if method != "random"):
        breakers = draws[: TIE_DRAWS if method in tied else 1]
        for order in ORDERS:
            if protocol.ties_by_position:
                found.append(Curve(method, order, 0, removal_order(values, order)))
            else:
                found += [Curve(method, order, draw, removal_order(values, order, breaker)) for draw, breaker in enumerate(breakers)]
    return found + [Curve("random", "negative", draw, removal_order(random, "negative")) for draw, random in enumerate(draws)]


def table(found: list[Curve], image_ids: list[int], correct: np.ndarray) -> pa.RecordBatch:
    """Rows (curve, image) from correctness [curve, image, step]."""
    count = len(image_ids)
    method = np.repeat(np.array([METHODS.index(curve.method) for curve in found], np.int8), count)
    order = np.repeat(np.array([ORDERS.index(curve.order) for curve in found], np.int8), count)
    arrays = [
        pa.DictionaryArray.from_arrays(pa.array(method), pa.array(METHODS)),
        pa.DictionaryArray.from_arrays(pa.array(order), pa.array(ORDERS)),
        pa.array(np.repeat(np.array([curve.draw for curve in found], np.int8), count)),
        pa.array(np.tile(np.asarray(image_ids, np.int32), len(found))),
        pa.FixedSizeListArray.from_arrays(pa.array(correct.ravel()), correct.shape[-1]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(correct.shape[-1]))
