"""Key-value memories: the coefficients with which tokens use the columns of a layer's output matrix.

A layer's memories are the columns of its output matrix, `attn.proj.weight` or `mlp.fc2.weight` [width, memory]. A token's coefficients are
the numbers by which the layer multiplies these columns, and the memories with the largest coefficients are active at the token.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3 (after Geva et al. 2021). See docs/analyses/memories.md.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.memory_table import ACTIVE, SCHEMA
from classlens.compute.transfer import Recorded
from classlens.errors import InputError
from classlens.protocol import Protocol
from classlens.trace import Trace, ViT
from classlens.vocabulary import SUBLAYERS

Keys = tuple[Tensor, Tensor]


def sites(model: ViT, protocol: Protocol) -> dict[str, str]:
    """Return the site of the memory coefficients of each layer, by layer (`attn` or `mlp`).

    Raises:
        InputError: a layer has fewer than `ACTIVE` memories; or the published definition applies, and the MLP has no `fc1` whose output has
            the size of the input of `fc2`.
    """
    mlp = model.blocks[0].mlp
    if (fewest := min(model.blocks[0].attn.proj.in_features, mlp.fc2.in_features)) < ACTIVE:
        raise InputError(
            f"a layer of the model has {fewest} memories and a token uses {ACTIVE}: leave `memories` out of this model's analyses"
        )
    if not protocol.memory_before_activation:
        return {"attn": "attn_memory", "mlp": "mlp_memory"}
    if not hasattr(mlp, "fc1") or mlp.fc1.out_features != mlp.fc2.in_features:
        raise InputError("protocol paper defines memories for plain MLPs only: leave `memories` out of this model's analyses")
    return {"attn": "attn_memory", "mlp": "mlp_hidden"}


def active(coefficients: Tensor) -> Keys:
    """Return the memories with the largest coefficients, and these coefficients, in descending order.

    Args:
        coefficients: [image, token, memory].

    Returns:
        int16 and float32 [image, token, `memory_table.ACTIVE`].
    """
    top = coefficients.topk(ACTIVE, dim=-1)
    return top.indices.to(torch.int16), top.values.float()


def reads(model: ViT, protocol: Protocol) -> dict[str, Callable[[Tensor], Keys]]:
    """Return the argument `read` of the `Trace` that `keys` needs."""
    return {f"{site}.{block}": active for site in sites(model, protocol).values() for block in range(len(model.blocks))}


def keys(model: ViT, found: Recorded | Trace, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return the active memories and their coefficients from what was recorded of them (`reads`), and remove them there.

    Returns:
        int16 and float32 [image, token, layer, block, `memory_table.ACTIVE`].
    """
    site_of, blocks = sites(model, protocol), range(len(model.blocks))
    recorded = [found.pop(f"{site_of[layer]}.{block}") for layer in SUBLAYERS for block in blocks]
    memory, coefficient = (
        torch.stack(parts, dim=2).unflatten(2, (len(SUBLAYERS), len(blocks))).numpy() for parts in zip(*recorded, strict=True)
    )
    return memory, coefficient


def table(image_ids: list[int], keys: tuple[np.ndarray, np.ndarray]) -> pa.RecordBatch:
    """Return the active memories of a batch as rows (image, token, layer, block).

    Args:
        image_ids: [image].
        keys: result of the function `keys`.
    """
    memory, coefficient = keys
    images, tokens, layers, blocks, _ = memory.shape
    columns = layers * blocks
    layer = np.tile(np.repeat(np.arange(len(SUBLAYERS), dtype=np.int8), blocks), images * tokens)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.repeat(np.asarray(image_ids, np.int32), tokens * columns)),
            pa.array(np.tile(np.repeat(np.arange(tokens, dtype=np.int16), columns), images)),
            pa.DictionaryArray.from_arrays(pa.array(layer), pa.array(SUBLAYERS)),
            pa.array(np.tile(np.arange(blocks, dtype=np.int16), images * tokens * len(SUBLAYERS))),
            pa.FixedSizeListArray.from_arrays(pa.array(memory.ravel()), ACTIVE),
            pa.FixedSizeListArray.from_arrays(pa.array(coefficient.ravel()), ACTIVE),
        ],
        schema=SCHEMA,
    )
