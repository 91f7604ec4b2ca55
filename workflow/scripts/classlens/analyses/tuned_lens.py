"""The tuned lens: an affine map per block that translates hidden states into the form of the last block, before they are projected.

The projection (the logit lens) reads early states as if they were written in the last block's form. A tuned lens learns for each block how
its states become the last ones, so it also finds class information that is there in another form. It sees no labels.

Source: Belrose et al., arXiv:2303.08112, 2023. Here, the map is the ridge regression toward the identity, in closed form, and `refine`
continues with their loss. See docs/analyses/tuned_lens.md.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from classlens.analyses.groups import TokenLabels, by_position, means_per_image
from classlens.analyses.identifiability import class_identifiability
from classlens.compute.transfer import Recorded, states_to_device, tensors_to_host, to_device, waiting_once
from classlens.errors import InputError
from classlens.lens import Lens, rank
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.storage.hidden_states import read_stored_states
from classlens.storage.tensors import read_tensors, write_tensors

LENSES = ("logit", "tuned")
"""The lens without and with the maps."""

MEASURES = ("identifiability", "first", "kl", "agreement")
"""Names of the measures that `measures` returns."""

TOKENS_AT_ONCE = 16384
"""Tokens per batch of stored states."""

HALVES = 2
"""Parts of the analysed images, if there are no others to fit on. The map of one part is fitted on the other part."""


def kinds_of_tokens(card: Card, distilled: bool) -> np.ndarray:
    """Return the kind of each token, whose states share a map: `cls`, `distillation`, `register` or `image`, [token].

    Args:
        card: the model's card.
        distilled: whether the second prefix token is a distillation token.
    """
    special = (["cls"] if card.cls_token else []) + (["distillation"] if distilled else [])
    registers = card.prefix_tokens - len(special)
    return np.array([*special, *["register"] * registers, *["image"] * card.image_tokens])


class Moments:
    """Sums over pairs of hidden states, from which ridge regressions of the difference on the first state follow exactly.

    States are shifted by the mean of the first batch. Products have the precision of the states, and sums double precision.

    Args:
        width: width D of the states.
        device: device of the states, which keeps the sums.
    """

    def __init__(self, width: int, device: torch.device | None = None):
        self.count = 0
        self._shifts = torch.zeros(2, width, dtype=torch.float64, device=device)
        self._sums = torch.zeros(2, width, dtype=torch.float64, device=device)
        self._products = torch.zeros(2, width, width, dtype=torch.float64, device=device)

    def add(self, states: Tensor, last: Tensor) -> None:
        """Add states of one block, and the last block's states of the same tokens, [token, width] each."""
        pair = torch.stack([states, last - states])
        if not self.count:
            self._shifts = pair.mean(dim=1).double()
        pair = pair - self._shifts[:, None].to(pair)
        self.count += len(states)
        self._sums += pair.sum(dim=1).double()
        self._products += (pair[0].T @ pair).double()

    def ridge(self, strength: float) -> "AffineMap":
        """Return the map W, c that minimises `sum |last - (state W + c)|^2 + alpha n |W - I|^2`.

        Args:
            strength: alpha, relative to the mean variance of the states' dimensions.

        Raises:
            InputError: no states were added.
        """
        if not self.count:
            raise InputError("a tuned lens has no images to be fitted on: set images_per_class to at least 2, or give a probe_split")
        shifts, sums, products = tensors_to_host(self._shifts, self._sums, self._products)
        means = sums / self.count
        gram, cross = (product - self.count * torch.outer(means[0], mean) for product, mean in zip(products, means, strict=True))
        alpha = strength * gram.trace() / (self.count * len(gram))
        penalty = self.count * alpha * torch.eye(len(gram), dtype=gram.dtype)
        # States that are all equal have no variance, and say nothing about the map.
        weight = torch.linalg.solve(gram + penalty, cross) if alpha > 0 else torch.zeros_like(gram)
        state, difference = means + shifts
        return AffineMap(weight, difference - state @ weight)


@dataclass(frozen=True)
class AffineMap:
    """An affine map of hidden states, as what it adds to the state: `state + state @ weight + bias`.

    Attributes:
        weight: W - I, [width, width].
        bias: [width].
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def identity(cls, width: int) -> "AffineMap":
        """Return the map that changes nothing."""
        return cls(torch.zeros(width, width), torch.zeros(width))

    def to(self, like: Tensor) -> "AffineMap":
        """Return the map on the device and with the type of a tensor."""
        return AffineMap(*(to_device(part, like.device).to(like.dtype) for part in (self.weight, self.bias)))

    def __call__(self, states: Tensor) -> Tensor:
        """Return the translated states [..., width]."""
        return states + states @ self.weight + self.bias


Maps = dict[tuple[int, str, int], AffineMap]
"""Maps by (part, kind, block)."""


@dataclass(frozen=True)
class TunedLens:
    """The maps of a model's blocks.

    Attributes:
        kinds: kind of each token, [token].
        maps: maps by (part, kind, block).
        parts: number of parts of the analysed images that have maps of their own: 1, or 2 if each part's maps were fitted on the other one.
        seed: seed of the division into parts (`parts_of`).
    """

    kinds: np.ndarray
    maps: Maps
    parts: int = 1
    seed: int = 0

    def translated(self, states: Tensor, block: int, parts: np.ndarray) -> Tensor:
        """Return the states of a block in the form of the last block, [image, token, width].

        Args:
            states: [image, token, width].
            block: the block, from 0.
            parts: part of each image, [image] (`parts_of`).
        """
        result = torch.empty_like(states)
        for part, kind, place in places(self.kinds, parts, states.device):
            result[place] = self.maps[part, kind, block].to(states)(states[place])
        return result

    def on_images(self, image_ids: np.ndarray) -> Callable[[Tensor, int, list[int]], Tensor]:
        """Return a function from states, their block and the ids of their images to the translated states.

        Args:
            image_ids: ids of all images of the split.
        """
        part_of = dict(zip(image_ids.tolist(), parts_of(image_ids, self.parts, self.seed).tolist(), strict=True))
        return lambda states, block, ids: self.translated(states, block, np.array([part_of[image] for image in ids]))

    def write(self, path: Path, metadata: dict[str, str]) -> None:
        """Write the maps as safetensors: `PART.KIND.BLOCK.weight` [width, width] and `.bias` [width], float32."""
        tensors = {}
        for (part, kind, block), one in self.maps.items():
            tensors[f"{part}.{kind}.{block}.weight"] = one.weight.float()
            tensors[f"{part}.{kind}.{block}.bias"] = one.bias.float()
        write_tensors(path, tensors, {"kinds": self.kinds.tolist(), "parts": self.parts, "seed": self.seed, **metadata})

    @classmethod
    def read(cls, path: Path, model: str | None = None) -> "TunedLens":
        """Read the maps of a model.

        Args:
            path: file that `write` wrote.
            model: required sha256 of the model's weights; None for any.

        Raises:
            InputError: the file is damaged, or belongs to another model.
        """
        tensors, facts = read_tensors(path, model)
        names = [name.removesuffix(".bias").split(".") for name in tensors if name.endswith(".bias")]
        maps = {
            (int(part), kind, int(block)): AffineMap(*(tensors[f"{part}.{kind}.{block}.{what}"] for what in ("weight", "bias")))
            for part, kind, block in names
        }
        return cls(np.array(facts["kinds"]), maps, facts["parts"], facts["seed"])


def parts_of(image_ids: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """Return the part of each image of a split, [image], a random division that knows no classes.

    Args:
        image_ids: ids of all images of the split.
        parts: number of parts.
        seed: seed of the division.
    """
    return np.random.default_rng(seed).permutation(np.arange(len(image_ids)) % parts)


@dataclass(frozen=True)
class Division:
    """Which tokens and images share maps.

    Attributes:
        kinds: kind of each token, [token] (`kinds_of_tokens`).
        parts: part of each image, [image] (`parts_of`).
    """

    kinds: np.ndarray
    parts: np.ndarray

    @property
    def count(self) -> int:
        """Number of parts."""
        return int(self.parts.max()) + 1


Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
"""Function from a block to batches of its states and of the last block's states, [image, token, width] each, in the order of the images."""


def stored(shards: list[Path], card: Card, device: torch.device) -> Batches:
    """Return a function that reads batches of stored states, which together take little RAM.

    Args:
        shards: shards of hidden states, in order.
        card: the card of the model that the shards must come from.
        device: device of the batches.
    """
    size = max(1, TOKENS_AT_ONCE // card.tokens)

    def batches(block: int) -> Iterator[tuple[Tensor, Tensor]]:
        for path in shards:
            pair = [read_stored_states(path, f"resid_post.{of_block}", card.sha256) for of_block in (block, card.depth - 1)]
            states, last = (part.reshape(-1, card.tokens) for part in pair)
            for first in range(0, len(states.values), size):
                part = slice(first, first + size)
                yield states_to_device(states, device, part), states_to_device(last, device, part)

    return batches


def fit(batches: Batches, division: Division, strength: float, depth: int) -> Maps:
    """Return the ridge regressions of a model.

    Args:
        batches: the states.
        division: kinds of tokens and parts of images. All images of a single part fit its maps; of two parts, each fits the maps of the
            other part.
        strength: strength of the ridge (`Moments.ridge`).
        depth: number of blocks.
    """
    kinds, parts, count = division.kinds, division.parts, division.count
    maps: Maps = {}
    for block in progress(range(depth), depth, "tuned lens", "blocks"):
        moments: dict[tuple[int, str], Moments] = {}
        for first, (states, last) in numbered(batches(block)):
            for part, kind, place in places(kinds, parts[first : first + len(states)], states.device):
                sums = moments.setdefault((part, kind), Moments(states.shape[-1], states.device))
                sums.add(states[place].flatten(0, 1), last[place].flatten(0, 1))
        for part, kind in product(range(count), np.unique(kinds).tolist()):
            fitted = moments.get((fitting_part(part, count), kind), Moments(1))
            maps[part, kind, block] = fitted.ridge(strength)
    return maps


def fitting_part(part: int, count: int) -> int:
    """Return the part whose images fit the maps of a part: itself if it is the only one, or else the other one."""
    return 1 - part if count == HALVES else part


def numbered(batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Yield each batch with the place of its first image among all images."""
    first = 0
    for batch in batches:
        yield first, batch
        first += len(batch[0])


def places(kinds: np.ndarray, parts: np.ndarray, device: torch.device) -> Iterator[tuple[int, str, tuple[Tensor, Tensor]]]:
    """Yield each part and kind of a batch, with the index of its images and tokens in tensors [image, token, ...] on a device."""
    for part, kind in product(np.unique(parts).tolist(), np.unique(kinds).tolist()):
        members = (np.flatnonzero(member) for member in (parts == part, kinds == kind))
        images, tokens = (to_device(torch.from_numpy(member), device) for member in members)
        yield part, kind, (images[:, None], tokens)


def divergence(output: Tensor, logits: Tensor) -> Tensor:
    """Return the KL divergence of each token's probabilities from the model's output, in nats, [image, token].

    Args:
        output: logits of the model's output, [image, class].
        logits: [image, token, class].
    """
    wanted = output.log_softmax(dim=-1)[:, None].expand_as(logits)
    return functional.kl_div(logits.log_softmax(dim=-1), wanted, reduction="none", log_target=True).sum(dim=-1)


def measures(lens: Lens, states: Tensor, output: Tensor, classes: Tensor, protocol: Protocol) -> dict[str, Tensor]:
    """Return what a lens reads from states, and how near it is to the model's output, each [image, token].

    Args:
        lens: the model's lens.
        states: hidden states, translated or not, [image, token, width].
        output: logits of the model's output, [image, class].
        classes: class index of each image, [image].
        protocol: chooses the rank of a class among equal logits.

    Returns:
        identifiability (1 - rank / C), first (whether the true class ranks first), kl (`divergence`), and agreement (whether the top class
        is that of the output).
    """
    logits = lens(states)
    ranks = rank(logits, classes, protocol.ties_rank_first)
    return {
        "identifiability": class_identifiability(ranks.float(), logits.shape[-1]),
        "first": (ranks == 0).float(),
        "kl": divergence(output, logits),
        "agreement": (logits.argmax(dim=-1) == output.argmax(dim=-1)[:, None]).float(),
    }


@dataclass(frozen=True)
class Comparison:
    """Compares the tuned lens of a model with its projection (logit lens).

    Attributes:
        lens: the model's lens, on its device.
        maps: its tuned lens.
        card: its card.
        protocol: chooses the rank of a class among equal logits.
    """

    lens: Lens
    maps: TunedLens
    card: Card
    protocol: Protocol

    def __call__(self, batches: Batches, manifest: pa.Table, labels: TokenLabels | None) -> pl.DataFrame:
        """Return rows (tokens, image, block) with n, and `{lens}_{measure}` (`measures`) for both lenses, means over the tokens.

        Args:
            batches: stored states of the analysed images.
            manifest: the images, with image_id and class_index.
            labels: token labels; None if the images have no masks.
        """
        ids, classes = manifest["image_id"].to_numpy(), torch.tensor(manifest["class_index"].to_pylist())
        parts = parts_of(ids, self.maps.parts, self.maps.seed)
        frames = []
        for block in progress(range(self.card.depth), self.card.depth, "comparison of the lenses", "blocks"):
            for first, (states, last) in numbered(batches(block)):
                images = slice(first, first + len(states))
                found = self._measured(states, last, block, classes[images], parts[images])
                frames.append(self._means(ids[images].tolist(), found, labels).with_columns(block=pl.lit(block, pl.Int16)))
        return pl.concat(frames).sort("tokens", "image_id", "block")

    def _means(self, image_ids: list[int], found: np.ndarray, labels: TokenLabels | None) -> pl.DataFrame:
        """Return the means of one block's measures [lens and measure, image, token] over each token group of each image."""
        names = [f"{lens}_{measure}" for lens in LENSES for measure in MEASURES]
        groups = {**by_position(self.card, len(image_ids)), **(labels.groups(image_ids) if labels else {})}
        return means_per_image(image_ids, groups, dict(zip(names, found[..., None], strict=True)))

    def _measured(self, states: Tensor, last: Tensor, block: int, classes: Tensor, parts: np.ndarray) -> np.ndarray:
        """Return the measures of both lenses, [lens and measure, image, token]."""

        def run() -> Recorded:
            output, of_images = self.lens.output(last), to_device(classes, states.device)
            of_lenses = (states, self.maps.translated(states, block, parts))
            found = [measures(self.lens, seen, output, of_images, self.protocol) for seen in of_lenses]
            return {"measures": (torch.stack([of_lens[name] for of_lens in found for name in MEASURES]),)}

        with torch.inference_mode():
            return waiting_once(run)["measures"][0].numpy()
