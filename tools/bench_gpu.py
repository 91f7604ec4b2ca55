"""Speed, VRAM and waits of each stage on a GPU, at each precision: a section of the benchmarks, if there is a GPU."""

import statistics
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
REPETITIONS = 3
WAIT = "called a synchronizing CUDA operation"
"""Part of the warning of `torch.cuda.set_sync_debug_mode`."""


Stage = tuple[str, int, Callable[[], Any]]
"""Name, number of images in one run (times the repetitions per image), and function that does it once."""


@dataclass(frozen=True)
class Measured:
    """One stage at one precision.

    Attributes:
        stage: name of the stage.
        precision: `float32`, `tf32` or `bfloat16`.
        images_per_second: speed, median of `REPETITIONS` runs.
        peak: most VRAM that was in use, in MiB.
        waits: how often PyTorch reports in one run that the CPU waited for the GPU.
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
        explanations: returns further stages of one batch, objects with name, run, images and repeats.
    """
    if compute.device.type != "cuda":
        return []
    model, card = make()
    model.to(compute.device).requires_grad_(False)
    count = compute.batch_for()
    pixels = torch.randint(0, 256, (count, 3, *model.patch_embed.img_size), dtype=torch.uint8)
    batch = Batch(list(range(count)), torch.zeros(count, dtype=torch.int64, device=compute.device), pixels, Transform(card.transform))
    further = further_stages(explanations(model, card, batch))
    found = []
    for precision in PRECISIONS:
        chosen = replace(compute, precision=precision)
        chosen.set_matrix_products()
        found += [measured(stage, chosen) for stage in [*forward_passes(model, card, batch, chosen), *further]]
    return lines(torch.cuda.get_device_name(compute.device), count, found)


def further_stages(explanations: list[Any]) -> list[Stage]:
    """Return the stages of the other benchmark that treat a batch at once, with an image for each repetition."""
    return [(one.name, one.images * one.repeats, one.run) for one in explanations if "image by image" not in one.name]


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
        taken = statistics.median(milliseconds(run) for _ in range(REPETITIONS))
        return Measured(
            name,
            compute.precision,
            1000 * images / taken,
            torch.cuda.max_memory_allocated() / 2**20,
            waits(run),
        )


def milliseconds(run: Callable[[], Any]) -> float:
    """Return the time of a call on the GPU."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def waits(run: Callable[[], Any]) -> int:
    """Return how often PyTorch reports in a call that the CPU waited for the GPU, as for results (`transfer.to_host`)."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum(WAIT in str(warning.message) for warning in seen)


def lines(name: str, images: int, found: list[Measured]) -> list[str]:
    """Return the section for a GPU of this name and a batch of so many images."""
    return [
        "## GPU",
        "",
        f"{name}, one batch of {images} images, without decoding and writing; medians of {REPETITIONS} runs. Waits are those of the CPU",
        "for the GPU that PyTorch reports, such as the one for all results. It does not report all of them.",
        "",
        "| stage | precision | images per second | peak VRAM, MiB | waits per batch |",
        "|---|---|---|---|---|",
        *(f"| {one.stage} | {one.precision} | {one.images_per_second:.0f} | {one.peak:.0f} | {one.waits} |" for one in found),
        "",
    ]
