"""Relevance maps of images for all wanted methods and classes. Each method has a module of its own name. See docs/analyses/relevance.md."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses import relevance
from classlens.analyses.attention_relevance import attention_maps
from classlens.analyses.attnlrp import attnlrp
from classlens.analyses.grad_cam import grad_cam
from classlens.analyses.integrated_gradients import integrated_gradients
from classlens.analyses.legrad import legrad
from classlens.analyses.model_run import ModelRun
from classlens.analyses.relevance import ClassRelevance
from classlens.analyses.relevance_table import Maps
from classlens.compute.transfer import Recorded, tensors_to_host, to_device, waiting_once
from classlens.data.batches import Batch
from classlens.data.class_order import normal
from classlens.data.manifest_classes import class_index
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.vocabulary import CLASS_AGNOSTIC_METHODS, Method


class Explainer:
    """Computes the relevance maps of batches of images.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        methods: methods besides ours, which is always included.
        choices: classes to explain in every image: `own` (the true class), `predicted`, or `rival`, which has the largest logit apart
            from the true class.
        named: further classes to explain, by image id.
        seed: seed of random maps.
        protocol: chooses the definition of our maps.
        baseline: baseline of integrated gradients, [token, width]; None if that method is not asked for.
    """

    def __init__(
        self,
        model: ViT,
        lens: Lens,
        methods: Sequence[Method],
        choices: Sequence[str],
        named: dict[int, list[int]],
        *,
        seed: int,
        protocol: Protocol,
        baseline: Tensor | None = None,
    ):
        self._model, self._lens, self._methods, self._choices = model, lens, {*methods, "ours"}, choices
        self._named, self._seed, self._protocol, self._baseline = named, seed, protocol, baseline

    def __call__(self, batch: Batch) -> Maps:
        """Return the maps of a batch, image by image."""
        found = waiting_once(partial(self._explained, batch))
        (wanted, own), (heads,) = ([part.numpy() for part in found.pop(name)] for name in ("classes", "heads"))
        maps = {name: of_method.numpy() for name, (of_method,) in found.items()}
        if self._has("random"):
            maps["random"] = np.stack([relevance.random_map(self._seed, 0, image, heads.shape[-1]) for image in batch.image_ids])
        slot, image = _distinct(wanted)
        of_class = wanted[slot, image]
        true = of_class == own[image]
        agnostic = {name: np.where(true[:, None], maps.pop(name)[image], np.nan) for name in CLASS_AGNOSTIC_METHODS if name in maps}
        return Maps(
            np.asarray(batch.image_ids, np.int32)[image],
            of_class.astype(np.int32),
            heads[slot, image],
            {name: values[slot, image] for name, values in maps.items()} | agnostic,
        )

    def _explained(self, batch: Batch) -> Recorded:
        """Return the wanted and the true classes, our maps per head, and the maps of each method, on the device of the batch."""
        wanted = self._wanted(batch)
        asked = (self._model, self._lens, batch.images, list(wanted))
        ours = relevance.class_relevance(*asked, self._protocol, with_attention=self._has("attention_gradient"))
        maps = {name: (of_method.float(),) for name, of_method in self._maps(asked, ours).items()}
        return {"classes": (wanted, batch.classes), "heads": (ours.relevance.float(),), **maps}

    def _has(self, *methods: Method) -> bool:
        return bool({*methods} & self._methods)

    def _maps(self, asked: tuple[ViT, Lens, Tensor, list[Tensor]], ours: ClassRelevance) -> dict[str, Tensor]:
        """Return the maps of each method: [wanted, image, image token], or [image, image token] if they do not depend on the class."""
        maps = {"ours": ours.ours, "relu": ours.relu}
        if self._has("attention_gradient"):
            maps["attention_gradient"] = ours.attention_gradient
        if self._has("legrad"):
            maps["legrad"] = legrad(*asked)
        if self._has("attnlrp"):
            maps["attnlrp"] = attnlrp(*asked)
        if self._has("grad_cam"):
            maps["grad_cam"] = grad_cam(*asked)
        if self._baseline is not None:
            maps["integrated_gradients"] = integrated_gradients(*asked, self._baseline)
        if self._has("chefer", "rollout", "last_attention"):
            model, lens, images, wanted = asked
            chefer, maps["rollout"], maps["last_attention"] = attention_maps(model, lens, images, wanted if self._has("chefer") else [])
            if chefer:
                maps["chefer"] = torch.stack(chefer)
        return {name: of_method for name, of_method in maps.items() if name in self._methods}

    def _wanted(self, batch: Batch) -> Tensor:
        """Return wanted classes, [slot, image]: true, named, then chosen classes. Images with fewer classes repeat their true class."""
        slots = [batch.classes]
        named = [self._named.get(image, []) for image in batch.image_ids]
        for place in range(max(map(len, named), default=0)):
            of_images = torch.tensor([(*classes[place : place + 1], -1)[0] for classes in named])  # -1: no class is named
            wanted = to_device(of_images, batch.classes.device)
            slots.append(torch.where(wanted < 0, batch.classes, wanted))
        if set(self._choices) - {"own"}:
            with torch.inference_mode():
                logits = self._model(batch.images)
            others = logits.scatter(1, batch.classes[:, None], -torch.inf)
            classes = {"predicted": logits.argmax(dim=1), "rival": others.argmax(dim=1)}
            slots += [classes[choice] for choice in classes if choice in self._choices]
        return torch.stack(slots)


def mean_embedding(run: ModelRun) -> Tensor:
    """Return the mean over images of the tokens after the embedding, [token, width]."""
    total, count = torch.zeros((), dtype=torch.float64), 0

    def work(batch: Batch) -> tuple[Tensor, int]:
        return embedding_sum(run.model, batch.images), len(batch)

    def add(result: tuple[Tensor, int]) -> None:
        nonlocal total, count
        total, count = total + result[0].double(), count + result[1]

    run.each("mean embedding", 8 * run.card.tokens * run.card.width, work, add)
    return (total / count).float().to(run.compute.device)


@torch.no_grad()
def embedding_sum(model: ViT, images: Tensor) -> Tensor:
    """Return the sum over images of the tokens after the embedding, [token, width], on the CPU."""
    return tensors_to_host(token_pruning.embed(model, images).sum(dim=0))[0]


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
