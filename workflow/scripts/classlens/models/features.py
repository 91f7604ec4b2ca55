"""Features of images: what a model's head reads, for fitting heads to models without one.

The feature of an image is the input of the head: the final norm of token 0, or of the mean of the image tokens for a model that pools them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.compute import out_of_memory
from classlens.compute.device import Compute
from classlens.compute.transfer import tensors_to_host
from classlens.data.batches import Batch, batches
from classlens.data.transforms import Transform
from classlens.errors import InputError
from classlens.progress import progress
from classlens.storage import hidden_states, parquet
from classlens.trace import ViT

READ_OUT = {"token": "[CLS] token", "avg": "mean of the image tokens"}
"""What a model's output is read from, by its `global_pool`."""


def schema(width: int, read_out: str) -> pa.Schema:
    """Return the schema of features: rows (image), with a binary column of `width` little-endian float32 values."""
    fields = [("image_id", pa.int32()), ("class_index", pa.int32()), ("feature", pa.binary(4 * width))]
    return pa.schema(fields, metadata={"dtype": "float32", "D": str(width), "read_out": read_out})


def extract(
    model: ViT, manifest: pa.Table, root: Path, transform: dict[str, Any], *, compute: Compute, path: Path, provenance: dict[str, str]
) -> None:
    """Write the feature of each image of a manifest, in order. RAM use does not depend on the number of images.

    Args:
        model: model in evaluation mode, which is moved to the device.
        manifest: manifest of the split.
        root: folder of the data set.
        transform: image transform (`transforms`).
        compute: device and settings of forward passes.
        path: table to write.
        provenance: schema metadata.

    Raises:
        InputError: an image cannot be read, or a feature has NaN or infinite values.
    """
    model, shape = compute.place(model), schema(model.num_features, READ_OUT[model.global_pool])

    def work(batch: Batch) -> pa.RecordBatch:
        features, classes = features_of(model, batch, compute)
        if (bad := ~features.isfinite().all(dim=1)).any():
            image = batch.image_ids[int(bad.int().argmax())]
            raise InputError(f"the feature of image {image} is not finite: the model's weights or its input are damaged")
        numbers = [pa.array(batch.image_ids, pa.int32()), pa.array(classes.numpy(), pa.int32())]
        return pa.RecordBatch.from_arrays([*numbers, hidden_states.fixed_binary(features.numpy())], schema=shape)

    size = compute.batch_for(on_host=4 * model.num_features)
    images = batches(manifest, root, Transform(transform), size=size, workers=compute.workers, device=compute.device)
    with parquet.table_writer(path, shape, provenance, compression="none") as write:
        out_of_memory.process_batches(progress(images, len(manifest), "features", size=len), work, write)


def features_of(model: ViT, batch: Batch, compute: Compute) -> tuple[Tensor, Tensor]:
    """Return the features [image, width] and the classes [image] of a batch, on the CPU."""
    with torch.inference_mode(), compute.autocast():
        features = model.forward_head(model.forward_features(batch.images), pre_logits=True).float()
    found, classes = tensors_to_host(features, batch.classes)
    return found, classes


def read(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the features of a split, float32 [image, width], the class index of each image, [image], and what they were read from.

    Raises:
        InputError: the file is damaged.
    """
    table = parquet.read_table(path)
    classes = table["class_index"].to_numpy().astype(np.int64)
    return hidden_states.states_of(table, "feature"), classes, table.schema.metadata[b"read_out"].decode()
