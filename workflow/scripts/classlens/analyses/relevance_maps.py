"""From images to relevance maps of every method, for every class of interest.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5; methods, section 8. `relevance` computes the maps.
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

CHOICES = ("own", "predicted", "rival")


class Explainer:
    """Makes the maps of a batch of images.

    Args:
        model: a model that `kept_tokens.check` lets pass.
        lens: its lens.
        choices: classes of every image, some of `CHOICES`: its own, the predicted one, the one with the largest logit besides its own.
        named: further classes by image id.
        seed: seed of random maps.
        protocol: settles the loss.
    """

    def __init__(self, model: ViT, lens: Lens, choices: Sequence[str], named: dict[int, list[int]], *, seed: int, protocol: Protocol):
        self._model, self._lens, self._choices = model, lens, choices
        self._named, self._seed, self._protocol = named, seed, protocol

    def __call__(self, batch: Batch) -> Maps:
        """The maps of a batch, by image and then by class."""
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
        """Wanted classes, [slot, image]: own, named, then chosen ones; an image with fewer classes than slots repeats its own."""
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
    """Slot and image of each distinct class of an image, in the order of images, from [slot, image]."""
    new = np.array([[index not in wanted[:slot, image] for image, index in enumerate(row)] for slot, row in enumerate(wanted)])
    image, slot = np.nonzero(new.T)
    return slot, image


def resolve_classes(named: dict[str, list[str | int]], manifest: pa.Table, classes: list[tuple[str, str]]) -> dict[int, list[int]]:
    """Class indices by image id, from a config's class names, ids or indices by image path.

    Args:
        named: `relevance.images` of the config; a path may be the end of the manifest's.
        manifest: the images.
        classes: (id, name) of each class.

    Raises:
        InputError: an image or a class is not known, or a config may mean several.
    """
    paths = dict(zip(manifest["path"].to_pylist(), manifest["image_id"].to_pylist(), strict=True))
    result: dict[int, list[int]] = {}
    for path, wanted in named.items():
        indices = [class_index(item, classes, "relevance.images") for item in wanted]
        result.setdefault(_image_id(path, paths), []).extend(indices)
    return result


def _image_id(wanted: str, paths: dict[str, int]) -> int:
    """The image that a config means by its path or the end of it."""
    found = [path for path in paths if normal(path) == normal(wanted)]
    found = found or [path for path in paths if normal(path).endswith(f"/{normal(wanted)}")]
    if not found:
        raise InputError(f"config key `relevance.images`: {wanted!r} is none of the analysed images, such as {next(iter(paths))}")
    if len(found) > 1:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise InputError(f"config key `relevance.images`: {wanted!r} may be {len(found)} images ({shown}): give more of the path")
    return paths[found[0]]


def shown_images(named: dict[int, list[int]], manifest: pa.Table, count: int) -> list[dict[str, Any]]:
    """Rows of the manifest whose maps are drawn: those that the config names, or else the first of each of the first classes."""
    rows = manifest.to_pylist()
    if named:
        return [row for row in rows if row["image_id"] in named]
    first = {row["class_index"]: row for row in reversed(rows)}
    return [first[index] for index in sorted(first)[:count]]
