"""Measures of all random twins of a model, in one pass over the images, without stored hidden states.

Twins go through the same projection and the same measures as other models, and their tables have the same columns. Hidden states exist for
one batch only, so that RAM and VRAM hold the twins' weights, one batch, and measures per image.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classlens.analyses import extraction, memories, projection
from classlens.analyses.agreement import MemoryUse
from classlens.analyses.projection import Projector, States
from classlens.analyses.projection_table import Projections, class_schema, schema
from classlens.compute import out_of_memory
from classlens.compute.device import Compute
from classlens.data.batches import Batch, batches
from classlens.data.transforms import Transform
from classlens.lens import Lens
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.storage import hidden_states, parquet
from classlens.trace import ViT
from classlens.vocabulary import SUBLAYER_SITES

KEPT_SITES = ("resid_post",)
"""Sites whose projections are written."""

BYTES_PER_TOKEN_AND_BLOCK = 120
"""RAM of a twin's results until their batch is written: a row of projections with the largest logits, and active memories."""


@dataclass(frozen=True)
class Twin:
    """A random twin and its output files.

    Attributes:
        model: model in evaluation mode, on the device.
        card: the twin's card.
        predictions: file to write.
        projections: files to write, by shard.
        class_logits: files to write with the logits of classes of interest, by shard; empty if these are not written.
        use: collects how the twin's tokens use its memories; None if memories are not analysed.
        provenance: schema metadata.
    """

    model: ViT
    card: Card
    predictions: Path
    projections: list[Path]
    class_logits: list[Path]
    use: MemoryUse | None
    provenance: dict[str, str]


@dataclass(frozen=True)
class Settings:
    """Settings of the measures that all twins share.

    Attributes:
        dtype: type of the hidden states before projection, as in stored hidden states: `float16` or `float32`.
        top_k: number of classes with the largest logits to keep; all classes if there are fewer.
        classes: further classes of interest, whose logits to keep.
        protocol: chooses the definitions of memory coefficients and ranks.
    """

    dtype: str
    top_k: int
    classes: list[int]
    protocol: Protocol


@dataclass(frozen=True)
class Outcome:
    """Results of one twin on one batch.

    Attributes:
        rows: rows of predictions, projections and, if written, logits of classes of interest.
        memories: active memories, and projections of the sublayers' outputs; None if memories are not analysed.
    """

    rows: list[pa.RecordBatch]
    memories: tuple[np.ndarray, Projections] | None


Append = Callable[[pa.RecordBatch], None]


def measure(twins: list[Twin], manifest: pa.Table, root: Path, settings: Settings, compute: Compute) -> None:
    """Run all twins over the images of a split and write predictions and projections. Each image is decoded once.

    Args:
        twins: twins of one model, which have the same input images.
        manifest: manifest of the split, with the same shards as the files to write.
        root: folder of the data set.
        settings: what to measure.
        compute: device and batch size. Between batches, only the measures of key-value memories per image stay in RAM.

    Raises:
        InputError: an image cannot be read, or an activation has NaN or infinite values.
    """
    with ExitStack() as files:
        predictions = [
            files.enter_context(parquet.table_writer(twin.predictions, extraction.PREDICTIONS, twin.provenance)) for twin in twins
        ]
        for number, shard in enumerate(manifest["shard"].unique().to_pylist()):
            with ExitStack() as of_shard:
                appends = [[first, *_open(of_shard, twin, number, settings)] for twin, first in zip(twins, predictions, strict=True)]
                _measure_shard(twins, manifest.filter(pc.field("shard") == shard), root, settings, compute, appends=appends)


def _open(files: ExitStack, twin: Twin, number: int, settings: Settings) -> list[Append]:
    """Open a twin's files of one shard for writing."""
    paths = [(twin.projections[number], schema(min(settings.top_k, twin.card.classes)))]
    paths += [(path, class_schema(twin.card.tokens)) for path in twin.class_logits[number : number + 1]]
    return [files.enter_context(parquet.table_writer(path, columns, twin.provenance)) for path, columns in paths]


def _measure_shard(
    twins: list[Twin], manifest: pa.Table, root: Path, settings: Settings, compute: Compute, *, appends: list[list[Append]]
) -> None:
    def work(batch: Batch) -> list[Outcome]:
        return [_measured(twin, batch, settings, compute) for twin in twins]

    def write(outcomes: list[Outcome]) -> None:
        for twin, append, outcome in zip(twins, appends, outcomes, strict=True):
            parquet.write_all(append, outcome.rows)
            if twin.use and outcome.memories:
                twin.use.add(*outcome.memories)

    transform, size = Transform(twins[0].card.transform), _batch_size(twins, settings, compute)
    images = batches(manifest, root, transform, size=size, workers=compute.workers, device=compute.device)
    out_of_memory.process_batches(progress(images, len(manifest), "random twins", size=len), work, write)


def _batch_size(twins: list[Twin], settings: Settings, compute: Compute) -> int:
    """Return how many images fit in RAM and VRAM, with the hidden states of one twin at a time and the unwritten results of all twins."""
    card = twins[0].card
    states = len(_sites(twins[0])) * card.width * hidden_states.NUMPY_DTYPES[settings.dtype].itemsize
    waiting = len(twins) * BYTES_PER_TOKEN_AND_BLOCK
    logits = projection.BYTES_PER_LOGIT * card.tokens * card.classes
    return compute.batch_for(on_device=logits, on_host=card.tokens * card.depth * (states + waiting))


def _sites(twin: Twin) -> tuple[str, ...]:
    return KEPT_SITES + SUBLAYER_SITES if twin.use else KEPT_SITES


def _measured(twin: Twin, batch: Batch, settings: Settings, compute: Compute) -> Outcome:
    card, sites = twin.card, _sites(twin)
    reads = extraction.reads(card.depth, settings.dtype, sites) | (memories.reads(twin.model, settings.protocol) if twin.use else {})
    # The CPU waits for a GPU here, and again for each projection: states are projected from their stored form, and predictions, which say
    # which classes are of interest, are made on the CPU.
    recorded = extraction.recorded(twin.model, batch, reads, compute)
    predictions = extraction.predictions(batch.image_ids, recorded)
    schema = extraction.states_schema(card.depth, card.width, settings.dtype, sites)
    states = States(batch.image_ids, pa.Table.from_batches([extraction.states(batch.image_ids, recorded, card, schema)]), card.tokens)
    own = [[index] for index in recorded[extraction.OUTPUT][1].tolist()]
    project = Projector(Lens.from_model(twin.model), card, settings.top_k, compute, settings.protocol)
    table = pa.Table.from_batches([predictions])
    of_image = projection.classes_of_interest(table, table, settings.classes)
    interest = [of_image[image] for image in batch.image_ids] if twin.class_logits else own
    found, of_interest = project(states, interest, KEPT_SITES)
    rows = [predictions, projection.rows(found), *([projection.class_rows(found, interest, of_interest)] if twin.class_logits else [])]
    if not twin.use:
        return Outcome(rows, None)
    active, _ = memories.keys(twin.model, recorded, settings.protocol)
    return Outcome(rows, (active, replace(project, top_k=1)(states, own, SUBLAYER_SITES)[0]))
