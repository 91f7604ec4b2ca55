"""The tables of one model as arrays per image, which the explorer shows."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from classlens.analyses import memory_table, projection_table
from classlens.explorer.payload import by_frequency, indices, packed, quantized, scaled
from classlens.explorer.stories import Outcome
from classlens.models.card import Card
from classlens.storage import parquet
from classlens.vocabulary import METHODS, STORED_SITES, TOKEN_LABELS

REMOVED, NOT_RUN = -1, -2
"""Values in place of a rank: the condition removes the token, and the image was not run under the condition."""


@dataclass
class ImageArrays:
    """The data of one image for the page: arrays by name, texts by name, and axes along which arrays are stored as differences."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    differences: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add_logits(self, name: str, values: np.ndarray, differences: tuple[int, ...]) -> None:
        """Add logits or coefficients as multiples of a step, stored as differences along some axes."""
        self.arrays[name], step = quantized(values)
        self.facts[f"{name}_step"] = repr(step)
        self.differences[name] = differences

    def add_top(self, classes: np.ndarray, logits: np.ndarray) -> None:
        """Add the top classes, [site, block, token, top], and their logits. Logits of classes of interest are not stored again."""
        self.arrays["top_class"], self.arrays["top"] = by_frequency(classes)
        known = np.isin(classes, self.arrays["interest"])
        self.add_logits("top_logit", filled(logits, known), (3,))

    def text(self) -> str:
        """Return all of it as one text."""
        return packed(self.arrays, self.facts, self.differences)


def filled(values: np.ndarray, unused: np.ndarray) -> np.ndarray:
    """Return values with each unused one replaced by the used one before it in its row, or 0: differences along rows are then small."""
    places = np.where(unused, -1, np.arange(values.shape[-1]))
    last = np.maximum.accumulate(places, axis=-1)
    return np.where(last < 0, 0, np.take_along_axis(values, last.clip(0), axis=-1))


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A model's tables that are stored in shards.

    Attributes:
        card: the model's card.
        projections: shards of projections.
        class_logits: logits of the classes of interest, in the same shards.
        memory_keys: active memories, in the same shards, or an empty list.
        memories: number of memories in the largest layer.
        tuned: projections through the tuned lens, in the same shards, or an empty list.
        tuned_logits: their logits of the classes of interest.
    """

    card: Card
    projections: list[Path]
    class_logits: list[Path]
    memory_keys: list[Path]
    memories: int
    tuned: list[Path] = field(default_factory=list)
    tuned_logits: list[Path] = field(default_factory=list)


def projected(shards: Shards, images: Container[int]) -> Iterator[tuple[int, ImageArrays]]:
    """Yield the ids of some images with the ranks, logits, top classes and active memories of every token, shard by shard.

    Args:
        shards: the model's tables.
        images: ids of the images to yield.

    Raises:
        InputError: a shard is damaged or belongs to another model.
    """
    card = shards.card
    of_lenses = [(shards.projections, shards.class_logits), *([(shards.tuned, shards.tuned_logits)] if shards.tuned else [])]
    for number in range(len(shards.projections)):
        active = _active(shards.memory_keys[number], card, shards.memories) if shards.memory_keys else {}
        for images_of_lenses in zip(*(_of_shard(paths[number], logits[number], card) for paths, logits in of_lenses), strict=True):
            image = images_of_lenses[0].image
            if image not in images:
                continue
            shown = _shown(images_of_lenses, card)
            if active:
                memory, coefficient = active[image]
                shown.arrays["memory"] = memory
                shown.add_logits("coefficient", coefficient, (3,))
            yield image, shown


@dataclass(frozen=True)
class _Projected:
    """What a lens reads from an image's states: [site, block, token], with a last axis of top classes, or a first one of classes."""

    image: int
    interest: list[int]
    interest_logit: np.ndarray
    rank: np.ndarray
    top: np.ndarray
    top_logit: np.ndarray


def _of_shard(path: Path, logits_path: Path, card: Card) -> Iterator[_Projected]:
    """Yield the images of a shard, as one lens reads them."""
    batches = zip(projection_table.read([path], card, top_logits=True), projection_table.read_classes(logits_path, card), strict=True)
    for batch, interest in batches:
        assert batch.top_logit is not None
        sites = [batch.sites.index(site) for site in shown_sites(batch.sites)]
        for row, image in enumerate(batch.image_ids):
            classes, logits = interest[image]
            found = (_by_site(values[row], sites) for values in (batch.rank, batch.top, batch.top_logit))
            yield _Projected(image, classes, logits[:, sites], *found)


def _shown(of_lenses: tuple[_Projected, ...], card: Card) -> ImageArrays:
    """Return the arrays of an image. The sites of further lenses follow those of the first one."""
    shown = ImageArrays()
    shown.arrays["interest"] = np.array(of_lenses[0].interest, np.int32)
    shown.add_logits("interest_logit", np.concatenate([found.interest_logit for found in of_lenses], axis=1), (2, 3))
    shown.arrays["rank"] = indices(np.concatenate([found.rank for found in of_lenses]), card.classes)
    top, top_logit = (np.concatenate([getattr(found, name) for found in of_lenses]) for name in ("top", "top_logit"))
    shown.add_top(indices(top, card.classes), top_logit)
    return shown


def shown_sites(sites: tuple[str, ...]) -> list[str]:
    """Return the sites among `sites` that the page shows."""
    return [site for site in STORED_SITES if site in sites]


def _by_site(values: np.ndarray, sites: list[int]) -> np.ndarray:
    """Return values [token, site, block, ...] as [shown site, block, token, ...]."""
    return np.moveaxis(values[:, sites], 0, 2)


def _active(path: Path, card: Card, memories: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return active memories and their coefficients, [layer, block, token, ACTIVE], by image id."""
    images, memory = memory_table.read(path, card)
    _, coefficient = memory_table.read(path, card, "coefficient")
    of_layers = [np.moveaxis(values, 1, 3) for values in (indices(memory, memories), coefficient)]
    return dict(zip(images, zip(*of_layers, strict=True), strict=True))


class Maps:
    """Relevance maps of a model's images.

    Args:
        path: table of relevance maps.
        model: sha256 of the model's weights.
    """

    def __init__(self, path: Path, model: str):
        frame = pl.DataFrame(parquet.read_table(path, model=model)).cast({"method": pl.String})
        self.methods = [name for name in METHODS if name in frame["method"]]
        self._of_image = frame.partition_by("image_id", as_dict=True)

    def add(self, image: int, shown: ImageArrays) -> None:
        """Add an image's maps: the method and class of each map, and its values at the image tokens."""
        frame = self._of_image[image,]
        methods = [self.methods.index(name) for name in frame["method"]]
        shown.arrays["map"] = np.column_stack([methods, frame["class_index"]]).astype(np.int32)
        shown.arrays["relevance"], shown.arrays["relevance_step"] = scaled(np.array(frame["relevance"].to_list(), np.float32))


class Perturbed:
    """Ranks of a model's tokens under conditions that cut attention or remove tokens.

    Args:
        ranks: table of ranks.
        accuracy: table that says whether each output is right.
        card: the model's card.
    """

    def __init__(self, ranks: Path, accuracy: Path, card: Card):
        self._tokens = card.tokens
        frame = pl.DataFrame(parquet.read_table(ranks, model=card.sha256)).cast({"condition": pl.String})
        self.conditions = frame["condition"].unique(maintain_order=True).to_list()
        self._ranks = frame.partition_by("image_id", as_dict=True)
        right = pl.DataFrame(parquet.read_table(accuracy, model=card.sha256)).cast({"condition": pl.String})
        self._right = {(image, condition): is_right for condition, image, is_right in right.iter_rows()}

    def add(self, image: int, shown: ImageArrays) -> None:
        """Add an image's ranks, [condition, token], and whether its output is right under each condition, [condition]."""
        frame = self._ranks[image,]
        ranks = np.full((len(self.conditions), self._tokens), NOT_RUN, np.int32)
        for number, name in enumerate(self.conditions):
            part = frame.filter(condition=name)
            if len(part):
                ranks[number] = REMOVED
                ranks[number, part["token"]] = part["rank"]
        shown.arrays["perturbed"] = ranks
        rights = [self._right.get((image, name)) for name in self.conditions]
        shown.arrays["perturbed_right"] = np.array([NOT_RUN if right is None else right for right in rights], np.int32)


def outcomes(shown: ImageArrays, conditions: list[str], prefix_tokens: int) -> dict[str, Outcome]:
    """Return the outcomes of an image by condition, without conditions under which it was not run."""
    ranks, rights = shown.arrays["perturbed"][:, prefix_tokens:], shown.arrays["perturbed_right"]
    return {
        name: Outcome(bool(right), int((of_tokens == 0).sum()), int((of_tokens >= 0).sum()))
        for name, of_tokens, right in zip(conditions, ranks, rights.tolist(), strict=True)
        if right != NOT_RUN
    }


class Objects:
    """Labels of a model's image tokens from the images' masks.

    Args:
        path: table of token labels.
    """

    def __init__(self, path: Path):
        frame = pl.DataFrame(parquet.read_table(path)).cast({"label": pl.String})
        self._of_image = frame.partition_by("image_id", as_dict=True)

    def add(self, image: int, shown: ImageArrays) -> None:
        """Add the label (index into `TOKEN_LABELS`) and the object's share of each image token, if the image has a mask."""
        if (image,) in self._of_image:
            frame = self._of_image[image,]
            shown.arrays["label"] = np.array([TOKEN_LABELS.index(label) for label in frame["label"]], np.uint8)
            shown.arrays["class_fraction"] = frame["class_fraction"].to_numpy()
