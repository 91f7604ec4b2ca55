"""The tables of attribution: what each component adds to the logit of the true class, and the vectors that ablation reads."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses.attribution import Attribution, attribution
from classlens.compute.transfer import Recorded, waiting_once
from classlens.lens import Lens
from classlens.models.card import Card
from classlens.storage.hidden_states import NUMPY_DTYPES, binary_rows, fixed_binary
from classlens.trace import ViT

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


def own_logits(found: Attribution, classes: Tensor) -> Tensor:
    """Return what each component adds to the logit of each image's class, minus the mean over classes, [image, component]."""
    directions = found.classes[classes]
    parts = [found.embedding[:, None], found.heads.flatten(1, 2), found.mlps, found.biases[:, None]]
    terms = [(part * directions[:, None]).sum(dim=-1) for part in parts]
    terms[-1] = terms[-1] + found.bias[classes][:, None]
    return torch.cat([term.float() for term in terms], dim=1)


@dataclass(frozen=True)
class Measured:
    """Attribution of a batch of images as it is written, on the CPU.

    Attributes:
        found: the vectors of all components.
        logits: what each component adds to the logit of each image's class (`own_logits`), [image, component].
        states: sums over images of the states of `attn_heads` and `mlp_out` by name, float64 [token, width].
        classes: class of each image, [image].
    """

    found: Attribution
    logits: Tensor
    states: dict[str, Tensor]
    classes: Tensor


def measured(model: ViT, lens: Lens, images: Tensor, classes: Tensor) -> Measured:
    """Return the attribution of a batch of images, from one forward pass.

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """

    def run() -> Recorded:
        sums: dict[str, Tensor] = {}
        found = attribution(model, lens, images, lambda name, states: sums.__setitem__(name, states.sum(dim=0, dtype=torch.float64)))
        results = {"vectors": tuple(vars(found).values()), "classes": (own_logits(found, classes), classes)}
        return {**results, **{name: (values,) for name, values in sums.items()}}

    host = waiting_once(run)
    found, (logits, own) = Attribution(*host.pop("vectors")), host.pop("classes")
    return Measured(found, logits, {name: values for name, (values,) in host.items()}, own)


class Sums:
    """Sums over images of an attribution's vectors, and of the states that ablation replaces."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: dict[str, Tensor] = {}
        self._classes: dict[str, Tensor] = {}

    def add(self, batch: Measured) -> None:
        """Add some images."""
        found = batch.found
        self._count += len(found.embedding)
        self._classes = {"classes": found.classes.float(), "bias": found.bias.float()}
        vectors = {name: getattr(found, name).sum(dim=0, dtype=torch.float64) for name in ("heads", "mlps")}
        for name, values in (batch.states | vectors).items():
            self._sums[name] = self._sums.get(name, torch.zeros((), dtype=torch.float64)) + values

    def means(self) -> dict[str, Tensor]:
        """Return the means, float32 by name, and the class embedding of the vectors.

        `heads` [block, head, width] and `mlps` [block, width] are means of vectors; `attn_heads.{block}` and `mlp_out.{block}`, [token,
        width], those of states; `classes` [class, width] and `bias` [class] are as in `Attribution`.
        """
        return {name: (values / self._count).float() for name, values in self._sums.items()} | self._classes


def vector_schema(card: Card, width: int) -> pa.Schema:
    """Return the schema of vectors of a width: a row per image, a column of float32 values per component or block of heads."""
    blocks = range(card.depth)
    heads, mlps = (
        [(f"{part}.{block}", pa.binary(4 * count * width)) for block in blocks] for part, count in (("heads", card.heads), ("mlp", 1))
    )
    outside = [(name, pa.binary(4 * width)) for name in ("embedding", "biases")]
    return pa.schema([("image_id", pa.int32()), outside[0], *heads, *mlps, outside[1]])


def vector_rows(image_ids: list[int], found: Attribution, schema: pa.Schema) -> pa.RecordBatch:
    """Return the vectors of some images, a row per image, with the schema from `vector_schema`."""
    columns = {name: fixed_binary(part.flatten(1).float().numpy()) for name, part in _columns(found).items()}
    return pa.RecordBatch.from_arrays([pa.array(image_ids, pa.int32()), *columns.values()], schema=schema)


def _columns(found: Attribution) -> dict[str, Tensor]:
    blocks = range(found.mlps.shape[1])
    of_blocks = {f"heads.{block}": found.heads[:, block] for block in blocks} | {f"mlp.{block}": found.mlps[:, block] for block in blocks}
    return {"embedding": found.embedding, **of_blocks, "biases": found.biases}


def read_vectors(table: pa.Table, means: dict[str, Tensor], card: Card) -> Attribution:
    """Return the attribution of the images in some rows of a table of vectors.

    Args:
        table: the rows.
        means: the model's means, with its class embedding (`Sums.means`).
        card: the model's card.
    """

    def column(name: str) -> Tensor:
        return torch.from_numpy(binary_rows(table[name], NUMPY_DTYPES["float32"]).copy())

    heads = torch.stack([column(f"heads.{block}").unflatten(1, (card.heads, -1)) for block in range(card.depth)], dim=1)
    mlps = torch.stack([column(f"mlp.{block}") for block in range(card.depth)], dim=1)
    return Attribution(column("embedding"), heads, mlps, column("biases"), means["classes"], means["bias"])


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
