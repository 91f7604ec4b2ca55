"""Accuracy of a model, and probability of the class, while image tokens are removed in the order of a relevance map.

A map is good if they stay high while the least relevant tokens are removed first, and fall quickly if the most relevant are removed
first. Tokens are removed from the model's input sequence, not blackened in the image (`token_pruning`).

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. See docs/analyses/deletion.md.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.relevance import random_map
from classlens.analyses.relevance_table import named
from classlens.compute.transfer import tensors_to_host, to_device
from classlens.data.batches import Batch
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.vocabulary import METHODS, ORDERS

RANDOM_DRAWS = 10
TIE_DRAWS = 5
"""Number of random strict orders for a map with ties. Their mean stands for the map."""
# Curves of one step run together in batches of up to this many tokens, which keeps the GPU busy when few tokens are left.
TOKENS_AT_ONCE = 4096


def steps(image_tokens: int, count: int | None, pooled: bool, protocol: Protocol) -> list[int]:
    """Return the numbers of removed image tokens, in ascending order.

    Args:
        image_tokens: number N of image tokens.
        count: number of steps; None for every number of tokens. Steps are evenly spaced. Of five or more, two lie beside the ends instead,
            because accuracy may change most as the first or the last token goes.
        pooled: whether the model averages image tokens, so that one must remain.
        protocol: `deletion_without_ends` leaves out 0 and N.
    """
    first, last = (1, image_tokens - 1) if protocol.deletion_without_ends else (0, image_tokens - pooled)
    if count is None or count > last - first:
        return list(range(first, last + 1))
    beside_ends = set() if protocol.deletion_without_ends or count < 5 else {first + 1, last - 1}
    return sorted(beside_ends | {int(step) for step in np.linspace(first, last, count - len(beside_ends)).round()})


def removal_order(relevance: np.ndarray, order: str, breaker: np.ndarray | None = None) -> np.ndarray:
    """Return image tokens in their order of removal, [..., token].

    Args:
        relevance: [..., token].
        order: `negative` removes the least relevant token first, `positive` the most relevant. One is the reverse of the other.
        breaker: random numbers [..., token] that break ties; None removes tied tokens by position in both orders, as published.
    """
    if breaker is None:
        return np.argsort(relevance if order == "negative" else -relevance, axis=-1, kind="stable")
    ascending = np.lexsort((breaker, relevance), axis=-1)
    return ascending if order == "negative" else ascending[..., ::-1]


def has_ties(relevance: np.ndarray) -> bool:
    """Return whether two tokens have the same value in any map [map, token]."""
    return bool((np.diff(np.sort(relevance, axis=-1), axis=-1) == 0).any())


@dataclass(frozen=True)
class AfterRemoval:
    """Correctness and probability of the image's class after each number of removals, on the CPU.

    Attributes:
        correct: whether it predicts the image's class, bool [curve, image, step].
        probability: probability of the image's class, [curve, image, step].
    """

    correct: Tensor
    probability: Tensor


@torch.inference_mode()
def after_removal(model: ViT, lens: Lens, batch: Batch, orders: Tensor, removed: list[int]) -> AfterRemoval:
    """Return what the model says about its images after each number of removals.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: its lens.
        batch: the images.
        orders: image tokens in the order of removal, int64 [curve, image, image token], on the CPU.
        removed: numbers of removed tokens.
    """
    states = token_pruning.embed(model, batch.images)
    curves, count, _ = orders.shape
    device = batch.images.device
    correct = torch.empty(curves, count, len(removed), dtype=torch.bool, device=device)
    probability = torch.empty(curves, count, len(removed), device=device)
    for step, number in enumerate(progress(removed, len(removed), f"removing tokens of {count} images", "steps")):
        logits = outputs(model, lens, states, orders[:, :, number:])
        correct[:, :, step] = logits.argmax(dim=-1) == batch.classes
        probability[:, :, step] = probability_of(logits, batch.classes)
    return AfterRemoval(*tensors_to_host(correct, probability))


def outputs(model: ViT, lens: Lens, states: Tensor, kept: Tensor) -> Tensor:
    """Return the model's output from some image tokens only, [curve, image, class].

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: its lens.
        states: input of the first block, [image, token, width].
        kept: indices of image tokens to keep, in any order, int64 [curve, image, kept], on the CPU.
    """
    images, tokens, row_of = without_repetitions(kept)
    prefix = torch.arange(lens.prefix_tokens).expand(len(images), -1)
    positions = to_device(torch.cat([prefix, tokens + lens.prefix_tokens], dim=-1), states.device)
    at_once = max(1, TOKENS_AT_ONCE // token_pruning.tokens_run(model, states.shape[1], positions.shape[1]))
    parts = zip(to_device(images, states.device).split(at_once), positions.split(at_once), strict=True)
    found = [token_pruning.run(model, lens, token_pruning.at(model, states, image, position))[1] for image, position in parts]
    return torch.cat(found)[to_device(row_of, states.device)]


def without_repetitions(kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what curves keep without repetitions: in two orders of removal, the same tokens of an image often remain.

    Args:
        kept: indices of image tokens, in any order, int64 [curve, image, kept].

    Returns:
        the image of each row, [row]; its tokens in ascending order, [row, kept]; and the row of each curve and image, [curve, image].
    """
    image = torch.arange(kept.shape[1]).expand(kept.shape[:2])[..., None]
    rows, row_of = torch.cat([image, kept.sort(dim=-1).values], dim=-1).flatten(0, 1).unique(dim=0, return_inverse=True)
    return rows[:, 0], rows[:, 1:], row_of.unflatten(0, kept.shape[:2])


def probability_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the probability of each image's class, [curve, image], from logits [curve, image, class]."""
    return logits.float().softmax(dim=-1).gather(-1, classes.expand(logits.shape[:2])[..., None])[..., 0]


def schema(count: int) -> pa.Schema:
    """Return the schema of deletion per image: rows (method, order, draw, image) with values after each of `count` steps."""
    name = pa.dictionary(pa.int8(), pa.string())
    keys = [("method", name), ("order", name), ("draw", pa.int8()), ("image_id", pa.int32())]
    return pa.schema([*keys, ("correct", pa.list_(pa.bool_(), count)), ("probability", pa.list_(pa.float32(), count))])


@dataclass(frozen=True)
class Curve:
    """One order of removal for each image.

    Attributes:
        method: method of the maps; `random` for random orders.
        order: `negative` or `positive`.
        draw: index of the random draw; 0 if there is only one order.
        removal: image tokens in their order of removal, [image, token].
    """

    method: str
    order: str
    draw: int
    removal: np.ndarray


def curves(maps: dict[str, np.ndarray], image_ids: list[int], tied: set[str], seed: int, protocol: Protocol) -> list[Curve]:
    """Return all curves of a model: both orders of every method, and random orders, which run once because they have no direction.

    Args:
        maps: relevance [image, token] by method.
        image_ids: [image].
        tied: methods with ties in any image's map. Each gets `TIE_DRAWS` random strict orders.
        seed: seed of the random orders.
        protocol: with `ties_by_position`, each method has one order instead.
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


def table(found: list[Curve], image_ids: list[int], after: AfterRemoval) -> pa.RecordBatch:
    """Return rows (curve, image)."""
    count, steps = len(image_ids), after.correct.shape[-1]
    method = np.repeat(np.array([METHODS.index(curve.method) for curve in found], np.int8), count)
    order = np.repeat(np.array([ORDERS.index(curve.order) for curve in found], np.int8), count)
    arrays = [
        named(method),
        pa.DictionaryArray.from_arrays(pa.array(order), pa.array(ORDERS)),
        pa.array(np.repeat(np.array([curve.draw for curve in found], np.int8), count)),
        pa.array(np.tile(np.asarray(image_ids, np.int32), len(found))),
        *(pa.FixedSizeListArray.from_arrays(pa.array(of.numpy().ravel()), steps) for of in (after.correct, after.probability)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(steps))
