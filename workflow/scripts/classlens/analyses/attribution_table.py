"""The tables of attribution: what each component adds to the logit of the true class, and the vectors that ablation reads."""

import numpy as np
import pyarrow as pa
from torch import Tensor

from classlens.analyses.attribution import Attribution
from classlens.models.card import Card

COMPONENTS = ("embedding", "head", "mlp", "biases")
"""Kinds of components."""
SCHEMA = pa.schema(
    [
        ("image_id", pa.int32()),
        ("class_index", pa.int32()),
        ("component", pa.dictionary(pa.int8(), pa.string())),
        ("block", pa.int16()),
        ("head", pa.int16()),
        ("logit", pa.float32()),
    ]
)
NOWHERE = -1
"""Block of components outside the blocks, and head of components other than heads."""


def places(card: Card) -> dict[str, np.ndarray]:
    """Return component (index into `COMPONENTS`), block and head of every component of a model, in the order of the table."""
    blocks, heads = np.arange(card.depth, dtype=np.int16), np.arange(card.heads, dtype=np.int16)
    of_heads = np.stack(np.meshgrid(blocks, heads, indexing="ij"), axis=-1).reshape(-1, 2)
    kind = [0, *[1] * len(of_heads), *[2] * card.depth, 3]
    return {
        "component": np.array(kind, np.int8),
        "block": np.array([NOWHERE, *of_heads[:, 0], *blocks, NOWHERE], np.int16),
        "head": np.array([NOWHERE, *of_heads[:, 1], *[NOWHERE] * (card.depth + 1)], np.int16),
    }


def own_logits(found: Attribution, classes: Tensor) -> np.ndarray:
    """Return what each component adds to the logit of each image's class, minus the mean over classes, [image, component]."""
    directions = found.classes[classes]
    parts = [found.embedding[:, None], found.heads.flatten(1, 2), found.mlps, found.biases[:, None]]
    terms = [(part * directions[:, None]).sum(dim=-1) for part in parts]
    terms[-1] = terms[-1] + found.bias[classes][:, None]
    return np.concatenate([term.float().cpu().numpy() for term in terms], axis=1)


def rows(image_ids: list[int], classes: np.ndarray, logits: np.ndarray, card: Card) -> pa.RecordBatch:
    """Return rows (image, component) from logits [image, component] (`own_logits`)."""
    images, count = logits.shape
    of_model = places(card)
    component = pa.DictionaryArray.from_arrays(pa.array(np.tile(of_model["component"], images)), pa.array(COMPONENTS))
    arrays = [
        pa.array(np.repeat(np.asarray(image_ids, np.int32), count)),
        pa.array(np.repeat(classes.astype(np.int32), count)),
        component,
        pa.array(np.tile(of_model["block"], images)),
        pa.array(np.tile(of_model["head"], images)),
        pa.array(logits.ravel()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
