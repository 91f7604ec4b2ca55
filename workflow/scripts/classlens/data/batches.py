"""Images of a manifest as batches for a model, decoded in parallel."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from classlens.compute.ordered_map import ordered_map
from classlens.compute.transfer import to_device
from classlens.data.images import read_image
from classlens.data.transforms import Transform

# With a GPU, the CPU decodes the next batches during the forward pass. On a CPU, this would take a core from the forward pass, whose other
# threads would wait: all threads first decode a batch, and then run the model on it.
BATCHES_AHEAD = {"cpu": 0, "cuda": 2}


@dataclass(frozen=True)
class Batch:
    """Images of a manifest; a slice is a smaller batch.

    Attributes:
        image_ids: numbers of the images, [image].
        classes: class index of each image, [image], on the model's device.
        pixels: the images after resizing and cropping, uint8 [image, 3, height, width], not on the device.
        transform: the transform, which also normalises the pixels.
    """

    image_ids: list[int]
    classes: Tensor
    pixels: Tensor
    transform: Transform

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, part: slice) -> "Batch":
        return Batch(self.image_ids[part], self.classes[part], self.pixels[part], self.transform)

    @cached_property
    def images(self) -> Tensor:
        """The model's input, float32 [image, 3, height, width], on the model's device. The first access computes it."""
        return self.transform.normalize(to_device(self.pixels, self.classes.device))


def load_pixels(row: dict[str, Any], root: Path, transform: Transform) -> Tensor:
    """Return an image of a manifest after resizing and cropping, uint8 [3, height, width].

    Raises:
        InputError: the file is missing, or has changed since the manifest was made.
    """
    return transform.pixels(read_image(row, root))


def batches(manifest: pa.Table, root: Path, transform: Transform, *, size: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """Yield the images of a manifest in order, in batches.

    Args:
        manifest: rows of a manifest.
        root: folder of the data set.
        transform: the transform of the model.
        size: images per batch.
        workers: number of threads that decode images.
        device: device of the model.

    Raises:
        InputError: an image cannot be read.
    """

    def start(pool: ThreadPoolExecutor, group: list[dict[str, Any]]) -> Callable[[], Batch]:
        futures = [pool.submit(load_pixels, row, root, transform) for row in group]
        return lambda: _batch(group, [future.result() for future in futures], transform, device)

    groups = (manifest.slice(first, size).to_pylist() for first in range(0, manifest.num_rows, size))  # not all rows at once
    return ordered_map(start, groups, workers, BATCHES_AHEAD[device.type])


def _batch(rows: list[dict[str, Any]], pixels: list[Tensor], transform: Transform, device: torch.device) -> Batch:
    classes = to_device(torch.tensor([row["class_index"] for row in rows]), device)
    return Batch([row["image_id"] for row in rows], classes, torch.stack(pixels), transform)
