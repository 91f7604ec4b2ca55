"""A quick accuracy: a model's answers to a few images of the analysed split, and what they say about classes and transform.

A model's own mean confidence tells what it expects to get right. A model that is much less often right than it expects sees another order
of classes, or images that are prepared in another way than in its training.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from classlens.compute.device import Compute
from classlens.compute.transfer import tensors_to_host
from classlens.data.batches import batches
from classlens.data.class_order import in_order
from classlens.data.layouts import Image
from classlens.data.manifest_classes import classes_of, order_of
from classlens.data.transforms import Transform
from classlens.lens import rank
from classlens.report import sanity
from classlens.statistics import mean_interval
from classlens.trace import ViT

IMAGES = 32
"""Number of images."""
BEST = 5
"""A class counts as among the best if its rank is below this number. With few classes, this would be no achievement."""

CLEAR_GAIN = 0.3
"""Minimum gain in accuracy from another order of the class folders: a model that gives one answer to all images gains by luck."""


def sample(images: list[Image], seed: int, count: int = IMAGES) -> list[Image]:
    """Return random images in their order, spread evenly over classes.

    Args:
        images: the images of a split.
        seed: seed of the choice.
        count: number of images to return, if there are as many.
    """
    rng = random.Random(seed)
    shuffled = rng.sample(images, len(images))
    turn: dict[str, int] = {}
    turns = []  # the first images of all classes come before the second ones
    for image in shuffled:
        turn[image.class_id] = turn.get(image.class_id, 0) + 1
        turns.append((turn[image.class_id], rng.random(), image))
    chosen = {image for _, _, image in sorted(turns, key=lambda item: item[:2])[:count]}
    return [image for image in images if image in chosen]


@dataclass(frozen=True)
class Accuracy:
    """A model's logits for a few images.

    Attributes:
        logits: [image, class].
        manifest: manifest of the images.
        seed: seed of resampling.
    """

    logits: torch.Tensor
    manifest: pa.Table
    seed: int

    @property
    def classes(self) -> torch.Tensor:
        """Class index of each image, [image]."""
        return torch.tensor(self.manifest["class_index"].to_pylist())

    def right(self, classes: torch.Tensor, best: int = 1) -> np.ndarray:
        """Return whether each image's class is among the best ones, [image], as 0 or 1."""
        return (rank(self.logits, classes) < best).double().numpy()

    def text(self) -> str:
        """Return the accuracy in words, with its interval."""
        many = self.logits.shape[1] > 2 * BEST
        further = f"; class among the {BEST} best: {_share(self.right(self.classes, BEST), self.seed)}" if many else ""
        return f"{_share(self.right(self.classes), self.seed)}{further}"

    def warnings(self, named: bool) -> Iterator[str]:
        """Yield signs of a wrong order of the classes, a wrong transform or wrong weights.

        Args:
            named: whether the model names its classes, so that the order of the class folders does not matter.
        """
        answers = sanity.Answers(self.classes.numpy(), self.logits.argmax(1).numpy(), self.logits.shape[1])
        order = None if named else self._other_order()
        yield from [order] if order else sanity.of_model(answers, self.manifest)
        yield from sanity.of_images(self.manifest)
        expected = float(self.logits.softmax(1).amax(1).mean())
        right = mean_interval(self.right(self.classes)[:, None], self.seed, "proportion")
        if right.high[0] < expected:
            yield (
                f"by its mean confidence, the model expects to be right at {100 * expected:.0f} % of these images, but is at "
                f"{100 * right.mean[0]:.0f} %: compare with the accuracy that its authors report, and check the order of the classes and "
                "the image transform"
            )

    def _other_order(self) -> str | None:
        """Return a warning if the other usual order of the class folders fits clearly better than the one of the config."""
        other = {"torchvision": "timm", "timm": "torchvision", "natural": "torchvision"}.get(order_of(self.manifest).basis)
        if other is None:
            return None
        ours, theirs = self.right(self.classes), self.right(self.in_order(other))
        if theirs.mean() - ours.mean() < CLEAR_GAIN:
            return None
        return (
            f"with `class_order: {other}`, {theirs.sum():.0f} of these images would be right instead of {ours.sum():.0f}: set the order "
            "that the model was trained with"
        )

    def in_order(self, order: str) -> torch.Tensor:
        """Return the row of each image's class, [image], if the model's classes are the folders in this order."""
        ids = [class_id for class_id, _ in classes_of(self.manifest)]
        places = {class_id: index for index, class_id in enumerate(in_order(ids, order))}
        return torch.tensor([places[ids[index]] for index in self.classes.tolist()])


def _share(right: np.ndarray, seed: int) -> str:
    found = mean_interval(right[:, None], seed, "proportion").scaled(100)
    interval = f", 95 % interval {found.low[0]:.0f} to {found.high[0]:.0f} %" if len(right) > 1 else ""
    return f"{right.sum():.0f} of {len(right)} images ({found.mean[0]:.0f} %{interval})"


def measure(model: ViT, transform: Transform, manifest: pa.Table, root: Path, *, compute: Compute, seed: int) -> Accuracy:
    """Run a model on the images of a manifest.

    Args:
        model: the model, on the device.
        transform: its image transform.
        manifest: manifest of the images.
        root: folder of the data set.
        compute: device and settings of forward passes.
        seed: seed of resampling.

    Raises:
        InputError: an image cannot be read.
    """
    found = batches(manifest, root, transform, size=compute.batch_size or IMAGES, workers=compute.workers, device=compute.device)
    with torch.inference_mode(), compute.autocast():
        logits = torch.cat([tensors_to_host(model(batch.images).float())[0] for batch in found])
    return Accuracy(logits, manifest, seed)
