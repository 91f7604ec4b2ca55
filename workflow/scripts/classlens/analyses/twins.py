"""Random twins of a model, all measured in one pass over the images, without keeping hidden states.

What is written is what the steps of any model write: the same states go through the same projection and the same measures. States are kept
for a batch of images only, so that memory holds the twins' weights, a batch, and measures per image.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

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
from classlens.trace import Trace, ViT
from classlens.vocabulary import SUBLAYER_SITES

KEPT_SITES = ("resid_post",)
"""Sites whose projections are kept."""

BYTES_PER_TOKEN_AND_BLOCK = 120
"""What waits of a twin until its batch is written: a row of projections with the largest classes, and active memories."""


@dataclass(frozen=True)
class Twin:
    """A random twin, and where its measures go.

    Attributes:
        model: in evaluation mode, on the device.
        card: its card.
        predictions: file to write.
        projections: files to write, by shard.
        class_logits: files to write with the logits of classes of interest, by shard; empty for none.
        use: takes in what its tokens do with its memories; None if nobody asks.
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
    """What the measures depend on, beside twins and images: type of the states, classes that are kept, and definitions.

    Attributes:
        dtype: type in which states are projected, that of stored hidden states: `float16` or `float32`.
        top_k: classes with the largest logits to keep; all where there are fewer.
        classes: further classes whose logits to keep.
        protocol: settles what memory coefficients are.
    """

    dtype: str
    top_k: int
    classes: list[int]
    protocol: Protocol


@dataclass(frozen=True)
class Outcome:
    """What a batch gives of one twin.

    Attributes:
        rows: of predictions, projections and, where they are kept, logits of classes of interest.
        memories: active memories, and projections of what the layers add; None if nobody asks.
    """

    rows: list[pa.RecordBatch]
    memories: tuple[np.ndarray, Projections] | None


Append = Callable[[pa.RecordBatch], None]


def measure(twins: list[Twin], manifest: pa.Table, root: Path, settings: Settings, compute: Compute) -> None:
    """Run all twins over the images of a split, each image decoded once, and write predictions and projections.

    Args:
        twins: of one model, so that they see the same images.
        manifest: manifest of the split; its shards are those of the files.
        root: folder of the data set.
        settings: what to measure.
        compute: how to run; only small measures per image of key-value memories stay in RAM.

    Raises:
        InputError: an image cannot be read, or an activation cannot be stored.
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
    """Open a twin's files of a shard for writing."""
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
    out_of_memory.each(progress(images, len(manifest), "images through all random twins", size=len), work, write)


def _batch_size(twins: list[Twin], settings: Settings, compute: Compute) -> int:
    """Return how many images fit the memory: states of one twin at a time, and what waits of all of them until it is written."""
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
    with torch.inference_mode(), compute.autocast(), Trace(twin.model, reads) as trace:
        logits = twin.model(batch.images)
    predictions = extraction.predictions(batch, logits.float().cpu())
    schema = extraction.states_schema(card.depth, card.width, settings.dtype, sites)
    states = States(batch.image_ids, pa.Table.from_batches([extraction.states(batch, trace, card, schema)]), card.tokens)
    own = [[index] for index in batch.classes.tolist()]
    project = Projector(Lens.from_model(twin.model), card, settings.top_k, compute, settings.protocol)
    table = pa.Table.from_batches([predictions])
    of_image = projection.classes_of_interest(table, table, settings.classes)
    interest = [of_image[image] for image in batch.image_ids] if twin.class_logits else own
    found, of_interest = project(states, interest, KEPT_SITES)
    rows = [predictions, projection.rows(found), *([projection.class_rows(found, interest, of_interest)] if twin.class_logits else [])]
    if not twin.use:
        return Outcome(rows, None)
    active, _ = memories.keys(twin.model, trace, settings.protocol)
    return Outcome(rows, (active, replace(project, top_k=1)(states, own, SUBLAYER_SITES)[0]))
