"""Hidden states, memory keys and predictions of a shard of images, from one forward pass per image.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3; methods, section 1. Hidden states are the three sites `resid_post`,
`attn_out` and `mlp_out` of every block; the fourth, `resid_mid`, is the difference of the first and the last.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from classlens import memories, memory_table, out_of_memory, storage
from classlens.batches import Batch, batches
from classlens.card import Card
from classlens.cli import progress
from classlens.compute import Compute
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.trace import Trace, ViT
from classlens.transforms import Transform

SITES = ("resid_post", "attn_out", "mlp_out")
DTYPES = {"float16": torch.float16, "float32": torch.float32}
PREDICTIONS = pa.schema(
    [
        ("image_id", pa.int32()),
        ("class_index", pa.int32()),
        ("predicted", pa.int32()),
        ("correct", pa.bool_()),
        ("logit", pa.float32()),
        ("top", pa.list_(pa.int32())),
        ("top_logit", pa.list_(pa.float32())),
    ]
)
"""Rows (image) of predictions: `logit` is the true class's; `top` are the classes with the largest outputs, `MOST_LIKELY` or all."""
MOST_LIKELY = 5


def columns(depth: int, sites: tuple[str, ...] = SITES) -> list[str]:
    """Names of the columns of hidden states, site by site."""
    return [f"{site}.{block}" for site in sites for block in range(depth)]


def states_schema(depth: int, width: int, dtype: str, sites: tuple[str, ...] = SITES) -> pa.Schema:
    """Schema of a shard of hidden states: rows (image, token), a fixed-size binary column per site and block."""
    binary = pa.binary(width * storage.NUMPY_DTYPES[dtype].itemsize)
    fields = [("image_id", pa.int32()), ("token", pa.int16()), *((name, binary) for name in columns(depth, sites))]
    return pa.schema(fields, metadata={"dtype": dtype, "D": str(width)})


def reads(depth: int, dtype: str, sites: tuple[str, ...] = SITES) -> dict[str, Callable]:
    """Return what a `Trace` must read for `states`."""
    return {name: partial(stored, name=name, dtype=DTYPES[dtype]) for name in columns(depth, sites)}


def stored(activation: Tensor, name: str, dtype: torch.dtype) -> Tensor:
    """An activation as it is stored, on the CPU.

    Raises:
        InputError: it is not finite, or does not fit the type.
    """
    kept = activation.to(dtype)
    if not kept.sum(dtype=torch.float32).isfinite() and not kept.isfinite().all():
        site, block = name.split(".")
        if not activation.isfinite().all():
            raise InputError(f"{site} of block {block} is not finite: the model's weights or its input are damaged")
        raise InputError(f"{site} of block {block} overflows float16: set hidden_states.dtype to float32")
    return kept.to("cpu")


def extract(
    model: ViT,
    card: Card,
    manifest: pa.Table,
    root: Path,
    compute: Compute,
    dtype: str,
    states_path: Path,
    predictions_path: Path,
    memory_path: Path | None,
    protocol: Protocol,
    provenance: dict[str, str],
) -> None:
    """Run a model over images once, and write everything that later steps read.

    Args:
        model: the model, in evaluation mode.
        card: its card.
        manifest: the images.
        root: folder of the data set.
        compute: how to run; memory does not depend on the number of images.
        dtype: type of the stored states, `float16` or `float32`.
        states_path: shard of hidden states to write.
        predictions_path: shard of predictions to write.
        memory_path: shard of memory keys to write, or None.
        protocol: settles what the memory coefficients are.
        provenance: schema metadata.

    Raises:
        InputError: an image cannot be read, or an activation cannot be stored.
    """
    compute.place(model)
    wanted = reads(card.depth, dtype) | (memories.reads(model, protocol) if memory_path else {})
    bytes_per_image = len(columns(card.depth)) * card.tokens * card.width * DTYPES[dtype].itemsize
    size = compute.batch_for(on_host=bytes_per_image)

    def work(batch: Batch) -> list[pa.RecordBatch]:
        with torch.inference_mode(), compute.autocast(), Trace(model, wanted) as trace:
            logits = model(batch.images)
        keys = [memories.table(batch.image_ids, memories.keys(model, trace, protocol))] if memory_path else []
        return [states(batch, trace, card), predictions(batch, logits.float().cpu()), *keys]

    with ExitStack() as files:
        schema = states_schema(card.depth, card.width, dtype)
        writers = [
            files.enter_context(storage.table_writer(states_path, schema, provenance, compression="none")),
            files.enter_context(storage.table_writer(predictions_path, PREDICTIONS, provenance)),
        ]
        if memory_path:
            writers.append(files.enter_context(storage.table_writer(memory_path, memory_table.SCHEMA, provenance)))
        images = batches(manifest, root, Transform(card.transform), size, compute.workers, compute.device)
        images = progress(images, len(manifest), "hidden states", size=len)
        out_of_memory.each(images, work, partial(storage.write_all, writers))


def states(batch: Batch, trace: Trace, card: Card, sites: tuple[str, ...] = SITES) -> pa.RecordBatch:
    """Return the hidden states of a batch that a trace has read (`reads`), which then forgets them, as rows (image, token)."""
    image = torch.tensor(batch.image_ids, dtype=torch.int32).repeat_interleave(card.tokens)
    token = torch.arange(card.tokens, dtype=torch.int16).repeat(len(batch))
    names = columns(card.depth, sites)
    values = [storage.fixed_binary(trace.pop(name).reshape(-1, card.width).numpy()) for name in names]
    return pa.RecordBatch.from_arrays([pa.array(image.numpy()), pa.array(token.numpy()), *values], names=["image_id", "token", *names])


def predictions(batch: Batch, logits: Tensor) -> pa.RecordBatch:
    """Return what a model's logits [image, class] on a batch say, as rows of `PREDICTIONS`."""
    classes = batch.classes.cpu()
    best = logits.topk(min(MOST_LIKELY, logits.shape[1]), dim=-1)
    predicted = logits.argmax(dim=-1)
    arrays = [
        pa.array(batch.image_ids, pa.int32()),
        pa.array(classes.numpy(), pa.int32()),
        pa.array(predicted.numpy().astype("int32")),
        pa.array((predicted == classes).numpy()),
        pa.array(logits.gather(1, classes[:, None])[:, 0].numpy()),
        pa.array(best.indices.tolist(), pa.list_(pa.int32())),
        pa.array(best.values.tolist(), pa.list_(pa.float32())),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PREDICTIONS)
