"""Token groups that analyses compare: [CLS] and image tokens, class and context tokens."""

import numpy as np
import polars as pl
import pyarrow as pa

from classlens.models.card import Card

Groups = dict[str, np.ndarray]
"""Masks of the tokens in each group, bool [image, token], by the group's name."""


def by_position(card: Card, images: int) -> Groups:
    """Return the groups `cls` ([CLS], if the model has it) and `image` (image tokens). Other prefix tokens are in neither group."""
    token = np.broadcast_to(np.arange(card.tokens), (images, card.tokens))
    groups = {"cls": token == 0} if card.cls_token else {}
    return {**groups, "image": token >= card.prefix_tokens}


class TokenLabels:
    """Labels of a split's image tokens, as arrays.

    Args:
        labels: table from `tokens.table`.
        card: the model's card.
    """

    def __init__(self, labels: pa.Table, card: Card):
        self._card = card
        codes = labels["label"].combine_chunks().indices.to_numpy().reshape(-1, card.image_tokens)
        images = labels["image_id"].to_numpy()[:: card.image_tokens]
        self._codes = dict(zip(images.tolist(), codes, strict=True))

    def groups(self, image_ids: list[int]) -> Groups:
        """Return the groups `class` and `context`, bool [image, token] each. Images without a mask have neither."""
        codes = np.full((len(image_ids), self._card.tokens), -1, np.int8)
        for row, image in enumerate(image_ids):
            if image in self._codes:
                codes[row, self._card.prefix_tokens :] = self._codes[image]
        return {"class": codes == 0, "context": codes == 1}


def means_per_image(image_ids: list[int], groups: Groups, measures: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return means of measures over each token group, rows (tokens, image, block). NaN measures and empty groups become null.

    Args:
        image_ids: [image].
        groups: token groups to average over.
        measures: [image, token, block] by column name.

    Returns:
        columns image_id, block, tokens, n (number of averaged tokens) and one per measure.
    """
    blocks = next(iter(measures.values())).shape[2]
    frames = []
    for name, members in groups.items():
        n = members.sum(axis=1)
        columns = {key: np.einsum("itb,it->ib", values, members) / np.maximum(n, 1)[:, None] for key, values in measures.items()}
        frame = pl.DataFrame(
            {
                "image_id": np.repeat(np.asarray(image_ids, np.int32), blocks),
                "block": np.tile(np.arange(blocks, dtype=np.int16), len(image_ids)),
                "tokens": name,
                "n": np.repeat(n.astype(np.int32), blocks),
                **{key: values.ravel() for key, values in columns.items()},
            }
        )
        frames.append(frame.with_columns(pl.when(pl.col("n") > 0).then(pl.col(key).fill_nan(None)).alias(key) for key in measures))
    return pl.concat(frames)
