"""Terms of heads by token, for the true class and its rival, of the images that the explorer shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classlens.analyses import attribution_table
from classlens.analyses.attribution import attribution, by_token
from classlens.compute.transfer import Recorded, waiting_once
from classlens.lens import Lens
from classlens.models.card import Card
from classlens.trace import ViT

SCHEMA = pa.schema([*attribution_table.SCHEMA, ("tokens", pa.list_(pa.float32()))])
CLASSES = 2
"""Number of classes per image: the true one and its rival."""


def own_and_rival(prediction: Mapping[str, Any]) -> tuple[int, int]:
    """Return the true class and its rival, the other class with the largest output, from a row of the table of predictions."""
    own = prediction["class_index"]
    return own, next((index for index in prediction["top"] if index != own), own)


def terms(model: ViT, lens: Lens, images: Tensor, classes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits that components add, [image, class, component], and the parts of heads, [image, class, block, head, token].

    Args:
        model: an accepted model in evaluation mode.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: [image, class].

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """
    each = list(classes.T)

    def run() -> Recorded:
        found = attribution(model, lens, images)
        logits = torch.stack([attribution_table.own_logits(found, of_image) for of_image in each], dim=1)
        return {"terms": (logits, torch.movedim(by_token(model, lens, images, each), 0, 1).float())}

    logits, tokens = waiting_once(run)["terms"]
    return logits.numpy(), tokens.numpy()


def rows(image_ids: Sequence[int], classes: np.ndarray, logits: np.ndarray, tokens: np.ndarray, card: Card) -> pa.RecordBatch:
    """Return rows (image, class, component) from `terms`. Components other than heads have no tokens."""
    count = classes.shape[1]
    of_terms = attribution_table.rows(np.repeat(image_ids, count).tolist(), classes.ravel(), logits.reshape(-1, logits.shape[2]), card)
    is_head = np.tile(attribution_table.places(card)["head"] >= 0, classes.size)
    ends = np.concatenate([[0], np.cumsum(is_head)]) * tokens.shape[-1]
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(tokens.ravel()), mask=pa.array(~is_head))
    return pa.RecordBatch.from_arrays([*of_terms.columns, lists], schema=SCHEMA)
