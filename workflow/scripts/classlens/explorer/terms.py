"""What heads and MLPs write into the logits of an image's true class and of its rival, as arrays for the page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from classlens.explorer.payload import scaled
from classlens.models.card import Card
from classlens.storage import parquet

TOKEN_STEPS = 31
"""Steps of the largest term of a head's tokens. The file of an image of ViT-B/16 then has at most 45 kB, even if its terms are noise."""


def read(path: Path, card: Card) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the ids of the images in a table of terms by token, with their arrays.

    The arrays are `class` [class], `term` [class, component] in the table's order, and `token` [class, block, head, token], in multiples of
    `token_step` [class, block, head].

    Args:
        path: the table.
        card: the model's card.

    Raises:
        InputError: the table is damaged, or belongs to another model.
    """
    components = 1 + card.depth * (card.heads + 1) + 1
    for group in parquet.StoredTable(path, card.sha256).groups(["image_id", "class_index", "logit", "tokens"]):
        images = list(dict.fromkeys(group["image_id"].to_pylist()))
        classes = group["class_index"].to_numpy()[::components].reshape(len(images), -1)
        terms = group["logit"].to_numpy().reshape(*classes.shape, components)
        of_tokens = parquet.values_of(group["tokens"]).reshape(*classes.shape, card.depth, card.heads, card.tokens)
        for row, image in enumerate(images):
            token, step = scaled(of_tokens[row].reshape(-1, card.tokens), TOKEN_STEPS)
            shape = of_tokens[row].shape
            arrays = {"class": classes[row], "term": terms[row], "token": token.reshape(shape), "token_step": step.reshape(shape[:-1])}
            yield image, arrays
