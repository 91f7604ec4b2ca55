"""Relevance maps of images for all methods and wanted classes. The module `relevance` has the methods.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. See docs/analyses/relevance.md.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses import relevance
from classlens.analyses.relevance_table import Maps
from classlens.data.batches import Batch
from classlens.data.class_order import normal
from classlens.data.manifest_classes import class_index
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.trace import ViT


class Explainer:
    """Computes the relevance maps of batches of images.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        choices: classes to explain in every image: `own` (the true class), `predicted`, or `rival`, which has the largest logit apart
            from the true class.
        named: further classes to explain, by image id.
        seed: seed of random maps.
        protocol: chooses the definition of our maps.
    """

    def __init__(self, model: ViT, lens: Lens, choices: Sequence[str], named: dict[int, list[int]], *, seed: int, protocol: Protocol):
        self._model, self._lens, self._choices = model, lens, choices
        self._named, self._seed, self._protocol = named, seed, protocol

    def __call__(self, batch: Batch) -> Maps:
        """Return the maps of a batch, image by image."""
        wanted = self._wanted(batch)
        ours = relevance.class_relevance(self._model, self._lens, batch.images, list(wanted), self._protocol)
        chefer, rollout, last = relevance.attention_maps(self._model, self._lens, batch.images, list(wanted))
        random = np.stack([relevance.random_map(self._seed, 0, image, ours.shape[-1]) for image in batch.image_ids])
        slot, image = _distinct(wanted.cpu().numpy())
        of_class = wanted.cpu().numpy()[slot, image]
        true = of_class == batch.classes.cpu().numpy()[image]
        agnostic = {"rollout": rollout.float().cpu().numpy(), "last_attention": last.float().cpu().numpy(), "random": random}
        others = {name: np.where(true[:, None], values[image], np.nan) for name, values in agnostic.items()}
        return Maps(
            np.asarray(batch.image_ids, np.int32)[image],
            of_class.astype(np.int32),
            ours.float().cpu().numpy()[slot, image],
            {"chefer": torch.stack(chefer).float().cpu().numpy()[slot, image], **others},
        )

    def _wanted(self, batch: Batch) -> Tensor:
        """Return wanted classes, [slot, image]: true, named, then chosen classes. Images with fewer classes repeat their true class."""
        own = batch.classes.tolist()
        slots = [batch.classes]
        for place in range(max((len(self._named.get(image, ())) for image in batch.image_ids), default=0)):
            lists = [[*self._named.get(image, ()), *[own[row]] * (place + 1)] for row, image in enumerate(batch.image_ids)]
            slots.append(torch.tensor([wanted[place] for wanted in lists], device=batch.classes.device))
        if set(self._choices) - {"own"}:
            with torch.inference_mode():
                logits = self._model(batch.images)
            others = logits.scatter(1, batch.classes[:, None], -torch.inf)
            classes = {"predicted": logits.argmax(dim=1), "rival": others.argmax(dim=1)}
            slots += [classes[choice] for choice in classes if choice in self._choices]
        return torch.stack(slots)


def _distinct(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slot and image of each image's distinct classes, image by image, from wanted classes [slot, image]."""
    new = np.array([[index not in wanted[:slot, image] for image, index in enumerate(row)] for slot, row in enumerate(wanted)])
    image, slot = np.nonzero(new.T)
    return slot, image


def resolve_classes(named: dict[str, list[str | int]], manifest: pa.Table, classes: list[tuple[str, str]]) -> dict[int, list[int]]:
    """Return class indices by image id, from a config's class names, ids or indices by image path.

    Args:
        named: `relevance.images` of the config. A path may be the end of a path in the manifest.
        manifest: the images.
        classes: (id, name) of each class.

    Raises:
        InputError: an image or a class is unknown or ambiguous.
    """
    paths = dict(zip(manifest["path"].to_pylist(), manifest["image_id"].to_pylist(), strict=True))
    result: dict[int, list[int]] = {}
    for path, wanted in named.items():
        indices = [class_index(item, classes, "relevance.images") for item in wanted]
        result.setdefault(_image_id(path, paths), []).extend(indices)
    return result


def _image_id(wanted: str, paths: dict[str, int]) -> int:
    """Return the id of the image whose path equals `wanted` or ends with it."""
    found = [path for path in paths if normal(path) == normal(wanted)]
    found = found or [path for path in paths if normal(path).endswith(f"/{normal(wanted)}")]
    if not found:
        raise InputError(f"config key `relevance.images`: {wanted!r} is not an analysed image: give a path such as {next(iter(paths))}")
    if len(found) > 1:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise InputError(f"config key `relevance.images`: {wanted!r} matches {len(found)} images ({shown}): give more of the path")
    return paths[found[0]]


def shown_images(named: dict[int, list[int]], manifest: pa.Table, count: int) -> list[dict[str, Any]]:
    """Return the manifest rows of images to draw: the images that the config names, or the first image of each of `count` classes."""
    rows = manifest.to_pylist()
    if named:
        return [row for row in rows if row["image_id"] in named]
    first = {row["class_index"]: row for row in reversed(rows)}
    return [first[index] for index in sorted(first)[:count]]
