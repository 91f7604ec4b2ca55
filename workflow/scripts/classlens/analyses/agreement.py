"""Agreement of key-value memories with classes.

A layer's values are the columns of its output matrix [width, memory]. Their projections onto the class embedding [class, width] say which
classes each memory writes, and thus whether tokens use memories of their image's class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, sections 3 and 4.3. See docs/analyses/memories.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from classlens.analyses import memory_table
from classlens.analyses.groups import means_per_image
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.vocabulary import SUBLAYERS

OUTPUTS = {"attn": "attn.proj", "mlp": "mlp.fc2"}
BEST = 5
"""Number of classes that a memory stands for, and of memories that stand for a class: those with the largest projections."""


def values(model: ViT, layer: str, block: int) -> Tensor:
    """Return the values of a layer's memories, [width, memory]."""
    return model.blocks[block].get_submodule(OUTPUTS[layer]).weight.detach()


def value_logits(embedding: Tensor, values: Tensor) -> Tensor:
    """Return the projection of each value onto each class, without bias, [class, memory]."""
    return embedding @ values


def class_value_agreement(embedding: Tensor, values: Tensor) -> Tensor:
    """Return the largest cosine between each class's embedding and any value, [class].

    Args:
        embedding: class embedding, [class, width].
        values: [width, memory].
    """
    return (functional.normalize(embedding, dim=1) @ functional.normalize(values, dim=0)).amax(dim=1)


@dataclass(frozen=True)
class LayerMemories:
    """The classes that each memory of a layer stands for, and the memories that stand for each class.

    Attributes:
        classes: classes with the largest projections of each memory, in descending order, [memory, BEST].
        logits: projections of each memory onto these classes, [memory, BEST].
        memories: memories with the largest projections onto each class, [class, BEST].
    """

    classes: np.ndarray
    logits: np.ndarray
    memories: np.ndarray

    @classmethod
    def of(cls, embedding: Tensor, values: Tensor) -> "LayerMemories":
        """Return the memories of a layer, from the class embedding [class, width] and the layer's values [width, memory]."""
        logits = value_logits(embedding, values)
        best = logits.topk(min(BEST, len(logits)), dim=0)
        memories = logits.topk(BEST, dim=1).indices
        return cls(best.indices.T.numpy(), best.values.T.numpy(), memories.numpy())

    def key_value_agreement(self, active: np.ndarray, classes: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Return whether each token uses a memory that stands for its image's class.

        Args:
            active: active memories, [image, token, ACTIVE].
            classes: class index of each image, [image].
            protocol: `memories_of_the_class` looks for an active memory among the class's best memories. Otherwise, the class must be among
                the best classes of an active memory.

        Returns:
            bool [image, token].
        """
        if protocol.memories_of_the_class:
            wanted = self.memories[classes]
            return (active[..., None] == wanted[:, None, None, :]).any(axis=(2, 3))
        return (self.classes[active] == classes[:, None, None, None]).any(axis=(2, 3))

    def composes(self, active: np.ndarray, top: np.ndarray) -> np.ndarray:
        """Return whether a layer's top class at a token is the top class of one of the token's active memories.

        Args:
            active: active memories, [image, token, ACTIVE].
            top: top class of what the layer adds, [image, token].

        Returns:
            bool [image, token].
        """
        return (self.classes[active, 0] == top[..., None]).any(axis=2)

    def agreement_counts(self, active: np.ndarray, num_classes: int, protocol: Protocol) -> np.ndarray:
        """Return, for each class, the number of tokens with key-value agreement if it were the image's class, [class].

        Args:
            active: active memories, [token, ACTIVE].
            num_classes: number of classes.
            protocol: as for `key_value_agreement`.
        """
        if protocol.memories_of_the_class:
            used = np.zeros((len(active), len(self.classes)), bool)
            np.put_along_axis(used, active.astype(np.int64), True, axis=1)
            return np.array([used[:, wanted].any(axis=1).sum() for wanted in self.memories])
        return _tokens_with(self.classes[active].reshape(len(active), -1), num_classes)

    def compositionality_counts(self, active: np.ndarray, num_classes: int) -> np.ndarray:
        """Return, for each class, the number of tokens with compositionality if it were the layer's top class, [class].

        Args:
            active: active memories, [token, ACTIVE].
            num_classes: number of classes.
        """
        return _tokens_with(self.classes[active, 0], num_classes)


def _tokens_with(classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Return, for each class, the number of rows of `classes` [token, any number] that contain it, [class]."""
    ordered = np.sort(classes, axis=1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return np.bincount(ordered[first], minlength=num_classes)


Layers = dict[tuple[str, int], LayerMemories]
"""Memories of each layer of a model, by layer (`attn` or `mlp`) and block."""


def layer_memories(model: ViT) -> Layers:
    """Return the memories of each layer of a model."""
    keys = [(layer, block) for layer in SUBLAYERS for block in range(len(model.blocks))]
    with torch.inference_mode():
        return {key: LayerMemories.of(model.head.weight, values(model, *key)) for key in keys}


def class_value_table(model: ViT) -> pl.DataFrame:
    """Return the class-value agreement of a model, rows (layer, block, class_index)."""
    frames = []
    for layer in SUBLAYERS:
        for block in range(len(model.blocks)):
            found = class_value_agreement(model.head.weight, values(model, layer, block)).detach().numpy()
            classes = np.arange(len(found), dtype=np.int32)
            frames.append(pl.DataFrame({"layer": layer, "block": block, "class_index": classes, "agreement": found}))
    return pl.concat(frames).cast({"block": pl.Int16})


def agreements(active: np.ndarray, batch: Projections, classes: np.ndarray, layers: Layers, protocol: Protocol) -> dict[str, np.ndarray]:
    """Return key-value agreement and compositionality of some tokens.

    Args:
        active: active memories, [image, token, layer, block, ACTIVE].
        batch: projections of the same images.
        classes: class index of each image, [image].
        layers: memories of each layer.
        protocol: chooses the definition of key-value agreement.

    Returns:
        `{layer}_agreement` and `{layer}_composition`, bool [image, token, block].
    """
    result: dict[str, np.ndarray] = {}
    for index, layer in enumerate(SUBLAYERS):
        used = active[:, :, index]
        top = batch.of(batch.top, f"{layer}_out")[..., 0]
        blocks = range(used.shape[2])
        agree = [layers[layer, block].key_value_agreement(used[:, :, block], classes, protocol) for block in blocks]
        compose = [layers[layer, block].composes(used[:, :, block], top[:, :, block]) for block in blocks]
        result |= {f"{layer}_agreement": np.stack(agree, axis=2), f"{layer}_composition": np.stack(compose, axis=2)}
    return result


class MemoryUse:
    """Collects how a model's tokens use its memories, batch by batch: key-value agreement, compositionality, chance levels, and counts.

    The chance level of key-value agreement is its mean if images exchange their classes at random; for compositionality, tokens exchange
    their top classes. Both are exact means over all exchanges: the sum over classes of the share of images (tokens) with the class, times
    the share of tokens whose memories stand for the class.

    Args:
        layers: memories of each layer of the model.
        card: the model's card.
        classes: class index of each image id.
        protocol: chooses the definition of key-value agreement, and whether the first token of a pooled model counts as [CLS].

    Attributes:
        counts: number of tokens that use each memory, [memory], by layer and block.
    """

    def __init__(self, layers: Layers, card: Card, classes: dict[int, int], protocol: Protocol):
        self._layers, self._card, self._classes, self._protocol = layers, card, classes, protocol
        self._frames: list[pl.DataFrame] = []
        self._marginals: dict[tuple[str, str, int], np.ndarray] = {}
        self.counts = {key: np.zeros(len(value.classes), np.int64) for key, value in layers.items()}

    def add(self, active: np.ndarray, batch: Projections) -> None:
        """Add some images.

        Args:
            active: active memories of the images, [image, token, layer, block, ACTIVE].
            batch: projections of the images.
        """
        of_images = np.array([self._classes[image] for image in batch.image_ids])
        groups = _groups(self._card, len(of_images), self._protocol)
        found = agreements(active, batch, of_images, self._layers, self._protocol)
        self._frames.append(means_per_image(batch.image_ids, groups, {name: flags.astype(np.float32) for name, flags in found.items()}))
        for (layer, block), count in self.counts.items():
            used, top = active[:, :, SUBLAYERS.index(layer), block], batch.of(batch.top, f"{layer}_out")[:, :, block, 0]
            count += np.bincount(used.ravel().astype(np.int64), minlength=len(count))
            for tokens, members in groups.items():
                key = (tokens, layer, block)
                self._marginals[key] = self._marginals.get(key, 0) + self._marginal(self._layers[layer, block], used[members], top[members])

    def _marginal(self, memories: LayerMemories, active: np.ndarray, top: np.ndarray) -> np.ndarray:
        """Return numbers of tokens by class, [3, class]: tokens that would agree, that would compose, and that have it as top class."""
        classes = self._card.classes
        agree, compose = memories.agreement_counts(active, classes, self._protocol), memories.compositionality_counts(active, classes)
        return np.stack([agree, compose, np.bincount(top, minlength=classes)])

    def tables(self, predictions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the tables of key-value agreement and of compositionality per image.

        Args:
            predictions: class_index and correct of each image.

        Returns:
            two tables with rows (tokens, image, block) for the tokens `all` and `cls`, and columns n, attn and mlp (shares of tokens). The
            first table also has class_index and correct.
        """
        frame = pl.concat(self._frames).sort("tokens", "image_id", "block")
        keys = ["tokens", "image_id", "block", "n"]
        agree, compose = (
            frame.select(*keys, *(pl.col(f"{layer}_{name}").alias(layer) for layer in SUBLAYERS)) for name in ("agreement", "composition")
        )
        return agree.join(predictions.select("image_id", "class_index", "correct"), on="image_id", maintain_order="left"), compose

    def chance(self) -> pl.DataFrame:
        """Return the chance levels of both measures, rows (tokens, layer, block) with key_value and composition (shares of tokens)."""
        images = pl.concat(self._frames)["image_id"].unique()
        own = np.bincount([self._classes[image] for image in images], minlength=self._card.classes) / len(images)
        rows = []
        for (tokens, layer, block), (agree, compose, top) in self._marginals.items():
            total = top.sum()
            values = {"key_value": own @ agree / total, "composition": top @ compose / total**2}
            rows.append({"tokens": tokens, "layer": layer, "block": block, **values})
        return pl.DataFrame(rows, schema_overrides={"block": pl.Int16}).sort("tokens", "layer", "block")


def of_shards(shards: Iterable[tuple[Path, Iterable[Projections]]], use: MemoryUse, card: Card) -> None:
    """Add the memory keys and projections of each shard to `use`.

    Raises:
        InputError: a shard is damaged, or belongs to another model.
    """
    for path, batches in shards:
        image_ids, active = memory_table.read(path, card)
        start = 0
        for batch in batches:
            rows = slice(start, start + len(batch.image_ids))
            start = rows.stop
            assert image_ids[rows] == batch.image_ids
            use.add(active[rows], batch)


def by_class(agreements: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return key-value agreement per class, rows (tokens, block, class_index) with class_name, attn and mlp (shares of tokens) and images.

    Args:
        agreements: key-value agreement per image, from `MemoryUse`.
        names: name of each class.
    """
    shares = [((pl.col(layer) * pl.col("n")).sum() / pl.col("n").sum()).alias(layer) for layer in SUBLAYERS]
    rows = agreements.group_by("tokens", "block", "class_index").agg(*shares, pl.len().alias("images"))
    named = rows.with_columns(class_name=pl.col("class_index").map_elements(names.__getitem__, return_dtype=pl.String))
    return named.select("tokens", "block", "class_index", "class_name", *SUBLAYERS, "images").sort("tokens", "block", "class_index")


def _groups(card: Card, images: int, protocol: Protocol) -> dict[str, np.ndarray]:
    """Return the groups `all` and `cls`. The latter exists if the model has [CLS] or the protocol treats the first token as [CLS]."""
    everything = np.ones((images, card.tokens), bool)
    first = np.broadcast_to(np.arange(card.tokens) == 0, everything.shape)
    return {"all": everything, **({"cls": first} if card.cls_token or protocol.drop_first_patch_of_pooled else {})}


def interpretable_values(model: ViT, layers: Layers, names: list[str], counts: dict[tuple[str, int], np.ndarray]) -> pl.DataFrame:
    """Return the classes that each memory stands for, rows (layer, block, memory).

    Args:
        model: the model.
        layers: memories of each layer.
        names: name of each class.
        counts: number of tokens that use each memory, from `MemoryUse`.

    Returns:
        columns class_index, class_name and logit (lists of `BEST`, in descending order of logit), cosine (between the value and the
        embedding of the first of these classes) and tokens (number of tokens that use the memory).
    """
    embedding = functional.normalize(model.head.weight.detach(), dim=1)
    frames = []
    for (layer, block), found in layers.items():
        written = functional.normalize(values(model, layer, block), dim=0)
        cosine = (embedding[found.classes[:, 0]] * written.T).sum(dim=1).numpy()
        frames.append(
            pl.DataFrame(
                {
                    "layer": layer,
                    "block": block,
                    "memory": np.arange(len(cosine), dtype=np.int16),
                    "class_index": found.classes.astype(np.int32).tolist(),
                    "class_name": [[names[index] for index in row] for row in found.classes.tolist()],
                    "logit": found.logits.tolist(),
                    "cosine": cosine,
                    "tokens": counts[layer, block],
                }
            )
        )
    return pl.concat(frames).cast({"block": pl.Int16, "class_index": pl.List(pl.Int32), "logit": pl.List(pl.Float32)})
