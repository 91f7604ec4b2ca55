"""Images of a manifest as batches for a model, decoded ahead of the forward pass."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from classlens.errors import InputError
from classlens.images import decode, read_bytes, to_rgb
from classlens.transforms import Transform

BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Images of a manifest.

    Attributes:
        image_ids: [image].
        classes: class index of each image, [image].
        images: a model's input, float32 [image, 3, height, width], on the model's device.
    """

    image_ids: list[int]
    classes: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.image_ids)


def load_pixels(row: dict[str, Any], root: Path, transform: Transform) -> Tensor:
    """One image of a manifest after resizing and cropping, uint8 [3, height, width].

    Raises:
        InputError: the file is missing, or no longer the one that the manifest describes.
    """
    path = root / row["path"]
    data, digest = read_bytes(path)
    if digest != row["sha256"]:
        raise InputError(f"{path} has changed since the manifest was made: run the workflow again")
    return transform.pixels(to_rgb(decode(data, path)))


def batches(manifest: pa.Table, root: Path, transform: Transform, size: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """The images of a manifest in order, in batches.

    Args:
        manifest: rows of a manifest.
        root: folder of the data set.
        transform: from file to input.
        size: images per batch.
        workers: threads that decode, two batches ahead.
        device: where the images are put.

    Raises:
        InputError: an image cannot be read.
    """
    rows = manifest.to_pylist()
    groups = iter([rows[start : start + size] for start in range(0, len(rows), size)])
    waiting: deque[tuple[list[dict[str, Any]], list[Future[Tensor]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:

        def submit(count: int) -> None:
            for group in islice(groups, count):
                waiting.append((group, [pool.submit(load_pixels, row, root, transform) for row in group]))

        submit(BATCHES_AHEAD)
        try:
            while waiting:
                group, futures = waiting.popleft()
                pixels = torch.stack([future.result() for future in futures])
                submit(1)
                classes = torch.tensor([row["class_index"] for row in group], device=device)
                yield Batch([row["image_id"] for row in group], classes, transform.normalize(pixels.to(device)))
        finally:
            pool.shutdown(cancel_futures=True)
