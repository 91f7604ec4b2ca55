"""Speed, VRAM and waits of each stage on a GPU, at each precision: a section of the benchmarks, if there is a GPU."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch

from classlens.analyses import extraction, projection
from classlens.compute.device import Compute
from classlens.data.batches import Batch
from classlens.data.transforms import Transform
from classlens.lens import Lens
from classlens.models.card import Card
from classlens.protocol import CORRECTED

PRECISIONS = ("float32", "tf32", "bfloat16")
WAIT = "called a synchronizing CUDA operation"
"""Part of the warning of `torch.cuda.set_sync_debug_mode`."""


Stage = tuple[str, int, Callable[[], Any]]
"""Name, number of images in one run, and function that does it once."""


@dataclass(frozen=True)
class Measured:
    """One stage at one precision.

    Attributes:
        stage: name of the stage.
        precision: `float32`, `tf32` or `bfloat16`.
        images_per_second: speed.
        peak: most VRAM that was in use, in MiB.
        waits: how often the CPU waited for an operation of the GPU in one run.
    """

    stage: str
    precision: str
    images_per_second: float
    peak: float
    waits: int


def section(compute: Compute, make: Callable[[], tuple[Any, Card]], explanations: Callable[[Any, Card, Batch], list[Any]]) -> list[str]:
    """Return the lines of the section, or none without a GPU.

    Args:
        compute: device and batch size.
        make: returns a model and its card.
        explanations: returns further stages of one batch, objects with name, run and images.
    """
    if compute.device.type != "cuda":
        return []
    model, card = make()
    model.to(compute.device).requires_grad_(False)
    count = compute.batch_for()
    pixels = torch.randint(0, 256, (count, 3, *model.patch_embed.img_size), dtype=torch.uint8)
    batch = Batch(list(range(count)), torch.zeros(count, dtype=torch.int64, device=compute.device), pixels, Transform(card.transform))
    further = [(one.name, one.images, one.run) for one in explanations(model, card, batch) if "image by image" not in one.name]
    found = []
    for precision in PRECISIONS:
        chosen = replace(compute, precision=precision)
        chosen.set_matrix_products()
        found += [measured(stage, chosen) for stage in [*forward_passes(model, card, batch, chosen), *further]]
    return lines(torch.cuda.get_device_name(compute.device), found)


def forward_passes(model: Any, card: Card, batch: Batch, compute: Compute) -> list[Stage]:
    """Return the bare forward pass, extraction and projection of a batch, without reading and writing."""
    reads, images = extraction.reads(card.depth, "float16"), batch.image_ids

    @torch.inference_mode()
    def forward() -> None:
        model(batch.images)

    def extract() -> Any:
        return extraction.recorded(model, batch, reads, compute)

    runs = [("bare forward", len(batch), forward), ("extraction", len(batch), extract)]
    if compute.precision != "float32":
        return runs  # the projection of stored states is always float32
    stored = extraction.states(images, extract(), card, extraction.states_schema(card.depth, card.width, "float16"))
    states = projection.States(images, pa.Table.from_batches([stored]), card.tokens)
    project = projection.Projector(Lens.from_model(model), card, 5, compute, CORRECTED)
    return [*runs, ("projection of all sites", len(batch), lambda: project(states, [[0]] * len(batch)))]


def measured(stage: Stage, compute: Compute) -> Measured:
    """Return speed, VRAM and waits of a stage, after a first run that warms up."""
    name, images, run = stage
    with compute.autocast():
        run()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return Measured(
            name,
            compute.precision,
            1000 * images / start.elapsed_time(end),
            torch.cuda.max_memory_allocated() / 2**20,
            waits(run),
        )


def waits(run: Callable[[], Any]) -> int:
    """Return how many operations of a call made the CPU wait, such as the wait for results (`transfer.to_host`)."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum(WAIT in str(warning.message) for warning in seen)


def lines(name: str, found: list[Measured]) -> list[str]:
    """Return the section for a GPU of this name."""
    return [
        "## GPU",
        "",
        f"{name}, one batch, without decoding and writing. Waits are operations for which the CPU waits, such as the one for all results.",
        "",
        "| stage | precision | images per second | peak VRAM, MiB | waits per batch |",
        "|---|---|---|---|---|",
        *(f"| {one.stage} | {one.precision} | {one.images_per_second:.0f} | {one.peak:.0f} | {one.waits} |" for one in found),
        "",
    ]
