"""Extraction of hidden states, memory keys and predictions of a shard of images, with one forward pass per image.

Hidden states are stored for the sites `resid_post`, `attn_out` and `mlp_out` of every block. The fourth site,
`resid_mid`, is not stored, because it is `resid_post - mlp_out`.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3. See docs/concepts.md.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses import memories, memory_table
from classlens.analyses.model_run import ModelRun
from classlens.compute import out_of_memory
from classlens.compute.device import Compute
from classlens.compute.transfer import Recorded, to_host, writing_beside
from classlens.data.batches import Batch
from classlens.errors import InputError
from classlens.lens import largest
from classlens.models.card import Card
from classlens.progress import progress
from classlens.storage import hidden_states, parquet
from classlens.trace import Trace, ViT
from classlens.vocabulary import STORED_SITES

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
"""Rows (image) of predictions. `logit` is the true class's. `top` are the `MOST_LIKELY` classes with the largest logits, or all classes."""
MOST_LIKELY = 5
STORAGE: dict[str, Any] = {"compression": "none", "data_page_size": 16 * 2**20}
"""How hidden states are written: floats do not become smaller by compression, and a few large pages take less time than many small ones."""
OUTPUT = "output"
"""Name of the model's logits [image, class] and the images' class indices [image] in what `recorded` returns."""


def columns(depth: int, sites: tuple[str, ...] = STORED_SITES) -> list[str]:
    """Return the names of the columns of hidden states, site by site."""
    return [f"{site}.{block}" for site in sites for block in range(depth)]


def states_schema(depth: int, width: int, dtype: str, sites: tuple[str, ...] = STORED_SITES) -> pa.Schema:
    """Return the schema of a shard of hidden states: rows (image, token), and per site and block a binary column of fixed size.

    With float16, a column of exponents follows each binary column.
    """
    binary = pa.binary(width * hidden_states.NUMPY_DTYPES[dtype].itemsize)
    fields = [("image_id", pa.int32()), ("token", pa.int16())]
    for name in columns(depth, sites):
        fields += [(name, binary), *([(hidden_states.exponent_of(name), pa.int8())] if dtype == "float16" else [])]
    return pa.schema(fields, metadata={"dtype": dtype, "D": str(width), "format": hidden_states.STATES_FORMAT})


def reads(depth: int, dtype: str, sites: tuple[str, ...] = STORED_SITES) -> dict[str, Callable]:
    """Return the argument `reads` of `recorded` for hidden states."""
    return {name: partial(stored, dtype=DTYPES[dtype]) for name in columns(depth, sites)}


def stored(activation: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return an activation [..., width] in its stored form: float32 unchanged, float16 with one exponent per row.

    Returns:
        largest absolute value of each row, [row]; values [row, width]; for float16, exponents, int8 [row]; on the activation's device.
    """
    rows = activation.reshape(-1, activation.shape[-1]).float()
    extent = torch.maximum(rows.amax(dim=-1), -rows.amin(dim=-1))  # much faster on a CPU than the infinity norm
    if dtype == torch.float32:
        return extent, rows
    exponent = _exponents(extent)
    values = torch.mul(rows, _power_of_two(-exponent)[:, None], out=torch.empty_like(rows, dtype=dtype))
    return extent, values, exponent.to(torch.int8)


def _exponents(extent: Tensor) -> Tensor:
    """Return the exponent e of each row. Its largest |value|, `extent` [row], divided by 2^e lies in [1, 2) in float16."""
    mantissa, exponent = torch.frexp(extent)  # mantissas lie in [0.5, 1)
    rounded_up = mantissa >= 1 - 2.0**-12  # float16 rounds them up to 1
    return torch.where(extent > 0, exponent - 1 + rounded_up.int(), 0).clamp(-126, 126)


def _power_of_two(exponent: Tensor) -> Tensor:
    """Return exactly 2^e as float32, built from its bits, for int32 exponents e from -126 to 126."""
    return ((127 + exponent) << 23).view(torch.float32)


@dataclass(frozen=True)
class Outputs:
    """Shards to write: hidden states, predictions and, unless None, memory keys."""

    states: Path
    predictions: Path
    memory_keys: Path | None = None


def extract(run: ModelRun, dtype: str, outputs: Outputs) -> None:
    """Run a model over images once, and write hidden states, predictions and memory keys for later steps.

    Args:
        run: the model and the images. RAM use does not depend on the number of images.
        dtype: type of the stored hidden states, `float16` or `float32`.
        outputs: files to write.

    Raises:
        InputError: an image cannot be read, or an activation has NaN or infinite values.
    """
    model, card, compute = run.model, run.card, run.compute
    wanted = reads(card.depth, dtype) | (memories.reads(model, run.protocol) if outputs.memory_keys else {})
    bytes_per_image = len(columns(card.depth)) * card.tokens * card.width * DTYPES[dtype].itemsize
    schema = states_schema(card.depth, card.width, dtype)

    def work(batch: Batch) -> list[pa.RecordBatch]:
        found = recorded(model, batch, wanted, compute)
        keys = [memories.table(batch.image_ids, memories.keys(model, found, run.protocol))] if outputs.memory_keys else []
        return [states(batch.image_ids, found, card, schema), predictions(batch.image_ids, found), *keys]

    with ExitStack() as files:
        writers = [
            files.enter_context(parquet.table_writer(outputs.states, schema, run.provenance, **STORAGE)),
            files.enter_context(parquet.table_writer(outputs.predictions, PREDICTIONS, run.provenance)),
        ]
        if outputs.memory_keys:
            writers.append(files.enter_context(parquet.table_writer(outputs.memory_keys, memory_table.SCHEMA, run.provenance)))
        images = progress(run.batches(compute.batch_for(on_host=bytes_per_image)), len(run.manifest), "hidden states", size=len)
        write = files.enter_context(writing_beside(compute.device, partial(parquet.write_all, writers)))
        out_of_memory.process_batches(images, work, write)


def recorded(model: ViT, batch: Batch, reads: dict[str, Callable], compute: Compute) -> Recorded:
    """Run a model on a batch once. Return what `reads` records (`Trace`) and the model's output, on the CPU."""
    with torch.inference_mode(), compute.autocast(), Trace(model, reads) as trace:
        logits = model(batch.images)
    return to_host({**trace.pop_all(), OUTPUT: (logits.float(), batch.classes)})


def states(image_ids: list[int], found: Recorded, card: Card, schema: pa.Schema) -> pa.RecordBatch:
    """Return the hidden states of a batch as rows (image, token), and remove them from `found`.

    Args:
        image_ids: [image].
        found: what `recorded` returns for `reads`.
        card: the model's card.
        schema: from `states_schema`.

    Raises:
        InputError: an activation has NaN or infinite values.
    """
    image = torch.tensor(image_ids, dtype=torch.int32).repeat_interleave(card.tokens)
    token = torch.arange(card.tokens, dtype=torch.int16).repeat(len(image_ids))
    arrays = [pa.array(image.numpy()), pa.array(token.numpy())]
    for name in (name for name in schema.names[2:] if not name.endswith(hidden_states.exponent_of(""))):
        extent, values, *exponent = found.pop(name)
        if not extent.isfinite().all():
            site, block = name.split(".")
            raise InputError(f"{site} of block {block} is not finite: the model's weights or its input are damaged")
        arrays += [hidden_states.fixed_binary(values.numpy()), *(pa.array(part.numpy()) for part in exponent)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def predictions(image_ids: list[int], found: Recorded) -> pa.RecordBatch:
    """Return the predictions for a batch, rows of `PREDICTIONS`, from what `recorded` returns."""
    logits, classes = found[OUTPUT]
    best_logits, best = largest(logits, MOST_LIKELY)
    predicted = best[:, 0]
    arrays = [
        pa.array(image_ids, pa.int32()),
        pa.array(classes.numpy(), pa.int32()),
        pa.array(predicted.numpy().astype("int32")),
        pa.array((predicted == classes).numpy()),
        pa.array(logits.gather(1, classes[:, None])[:, 0].numpy()),
        pa.array(best.tolist(), pa.list_(pa.int32())),
        pa.array(best_logits.tolist(), pa.list_(pa.float32())),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PREDICTIONS)
