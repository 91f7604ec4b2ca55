"""What an image costs on this machine: a few images through the real forward pass, extraction and projection of an architecture."""

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

# Images of which extraction and projection are timed: enough for a batch where images are cheap, two where they are dear.
FEWEST, MOST = 2, 32
# Of the time that `calibrate` has, beside the bare forward: an extraction and a projection take about twice as long together.
FORWARDS = 3
FILES = ("states", "predictions", "keys", "projections", "class_logits")


@dataclass(frozen=True)
class Calibration:
    """Seconds and bytes per image of an architecture.

    Attributes:
        forward: bare forward pass, s.
        extraction: from file to hidden states and memory keys, s.
        projection: of all sites, s.
        memory_keys: bytes of active memories.
        projections: bytes of projections.
        class_logits: bytes of the logits of classes of interest.
        weights: bytes of the model's file.
        card: its description, whose weights are random.
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
    seconds: float,
    folder: Path,
) -> Calibration:
    """Measure a model in about so many seconds.

    Args:
        model: with any weights, in evaluation mode.
        arch: its name in timm.
        transform: the config's transform, or None for the default.
        dtype: type of stored hidden states.
        top_k: classes that a projection keeps.
        protocol: settles transform and memories.
        compute: how to run.
        seconds: time to spend.
        folder: an empty folder for what is written.
    """
    (folder / "weights").touch()
    card = loading.describe(model, arch, {}, "random", transform=transform, protocol=protocol, weights=folder / "weights")
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    compute.place(model)
    forward = _forward(model, compute, 2)
    count = int(max(FEWEST, min(MOST, seconds / FORWARDS / forward)))
    forward = min(forward, _forward(model, compute, count))
    manifest = _noise(folder, count, card.classes)
    states, predictions, keys, projections, logits = (folder / f"{name}.parquet" for name in FILES)
    lens = Lens.from_model(model)
    run = ModelRun(model, lens, card, manifest, folder, Transform(card.transform), compute, CORRECTED, {})
    extract = _timed(lambda: extraction.extract(run, dtype, extraction.Outputs(states, predictions, keys)))
    interest = projection.classes_of_interest(manifest, parquet.read_table(predictions), [])
    project = projection.Projector(lens, card, top_k, compute, CORRECTED)
    projected = _timed(lambda: project.shard(states, interest, projection.Outputs(projections, logits), {}))
    kept, of_interest, active = (path.stat().st_size / count for path in (projections, logits, keys))
    return Calibration(forward, extract / count, projected / count, active, kept, of_interest, weights, card)


def _forward(model: ViT, compute: Compute, count: int) -> float:
    """Seconds per image of a bare forward pass: the better of two, the first of which warms up."""
    images = torch.zeros(count, 3, *model.patch_embed.img_size, device=compute.device)
    with torch.inference_mode(), compute.autocast():
        return min(_timed(lambda: model(images).cpu()) for _ in range(2)) / count


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _noise(folder: Path, count: int, classes: int) -> pa.Table:
    """A manifest of generated JPEG files of the size of photographs."""
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
