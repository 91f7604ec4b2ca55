"""Measured time and disk space per image on this machine, from a few images through forward pass, extraction and projection.

On CPUs, the time is CPU time of one thread, divided by the number of threads: other programs on the machine hardly change it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from classlens.analyses import extraction, projection
from classlens.analyses.model_run import ModelRun
from classlens.compute.device import Compute
from classlens.data.manifest import SCHEMA
from classlens.data.transforms import Transform
from classlens.lens import Lens
from classlens.models import loading
from classlens.models.card import Card
from classlens.protocol import CORRECTED, Protocol
from classlens.storage import parquet, provenance
from classlens.trace import ViT

# Limits of the number of timed images: fast models are timed with a full batch, slow ones with two images.
FEWEST, MOST = 2, 32
# Time of one image in units of its forward pass: 1 for the forward pass alone, about 2 for extraction and projection together.
FORWARDS = 3
FILES = ("states", "predictions", "keys", "projections", "class_logits")


@dataclass(frozen=True)
class Calibration:
    """Seconds and bytes per image of an architecture.

    Attributes:
        forward: seconds of the forward pass alone.
        extraction: seconds from the image file to hidden states and memory keys.
        projection: seconds of the projection of all sites.
        memory_keys: bytes of active memories.
        projections: bytes of projections.
        class_logits: bytes of the logits of classes of interest.
        weights: bytes of the model's file (not per image).
        card: description of the model, with random weights.
    """

    forward: float
    extraction: float
    projection: float
    memory_keys: float
    projections: float
    class_logits: float
    weights: int
    card: Card


def calibrate(
    model: ViT,
    *,
    arch: str,
    transform: dict[str, Any] | None,
    dtype: str,
    top_k: int,
    protocol: Protocol,
    compute: Compute,
    cores: int,
    seconds: float,
    folder: Path,
) -> Calibration:
    """Measure a model in a limited time.

    Args:
        model: model with any weights, in evaluation mode.
        arch: name of the architecture in timm.
        transform: the config's transform, or None for the default.
        dtype: data type of stored hidden states.
        top_k: number of classes that a projection stores.
        protocol: sets the default transform.
        compute: device, batch size and precision.
        cores: number of cores that the run may use.
        seconds: approximate time to spend.
        folder: an empty folder for temporary files.
    """
    card = loading.describe(model, arch, {}, "random", transform=transform, protocol=protocol, weights=None)
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    compute.place(model)
    timed = _Clock(cores if compute.device.type == "cpu" else 0)
    forward = _forward(model, compute, timed, 2)
    count = int(max(FEWEST, min(MOST, seconds / FORWARDS / (forward * max(1, timed.cores)))))
    forward = min(forward, _forward(model, compute, timed, count))
    manifest = _noise(folder, count, card.classes)
    states, predictions, keys, projections, logits = (folder / f"{name}.parquet" for name in FILES)
    lens = Lens.from_model(model)
    run = ModelRun(model, lens, card, manifest, folder, Transform(card.transform), compute, CORRECTED, {})
    extract = timed(lambda: extraction.extract(run, dtype, extraction.Outputs(states, predictions, keys)))
    interest = projection.classes_of_interest(manifest, parquet.read_table(predictions), [])
    project = projection.Projector(lens, card, top_k, compute, CORRECTED)
    projected = timed(lambda: project.shard(states, interest, projection.Outputs(projections, logits), {}))
    kept, of_interest, active = (path.stat().st_size / count for path in (projections, logits, keys))
    return Calibration(forward, extract / count, projected / count, active, kept, of_interest, weights, card)


def _forward(model: ViT, compute: Compute, timed: "_Clock", count: int) -> float:
    """Return the seconds per image of a forward pass alone: the faster of two runs, because the first one warms up."""
    images = torch.zeros(count, 3, *model.patch_embed.img_size, device=compute.device)
    with torch.inference_mode(), compute.autocast():
        return min(timed(lambda: model(images).cpu()) for _ in range(2)) / count


@dataclass(frozen=True)
class _Clock:
    """Measures the seconds that work takes on a quiet machine.

    Attributes:
        cores: number of cores that share the work of a run, or 0 if a GPU does it.
    """

    cores: int

    def __call__(self, work: Callable[[], object]) -> float:
        """Return the seconds of a piece of work."""
        if not self.cores:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several threads wait for each other, which takes CPU time if the machine is busy
        start = time.process_time()
        work()
        taken = time.process_time() - start
        torch.set_num_threads(threads)
        return taken / self.cores


def _noise(folder: Path, count: int, classes: int) -> pa.Table:
    """Write noise images as JPEG files of the size of photographs, and return their manifest."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        path = folder / f"{index:05d}.jpg"
        coarse.save(path, quality=90)
        rows.append(
            {"image_id": index, "class_index": index % classes, "path": path.name, "sha256": provenance.sha256(path), "shard": "00000"}
        )
    return pa.Table.from_pylist(rows, SCHEMA)
