"""Groups of tokens that analyses compare: [CLS] against image tokens, class against context tokens."""

import numpy as np
import pyarrow as pa

from classlens.card import Card

LABELS = ("class", "context", "ignored")

Groups = dict[str, np.ndarray]
"""Which tokens are in a group, bool [image, token], by the group's name."""


def by_position(card: Card, images: int) -> Groups:
    """[CLS] (`cls`, where the model has one) and image tokens (`image`). Other prefix tokens are in neither group."""
    token = np.broadcast_to(np.arange(card.tokens), (images, card.tokens))
    groups = {"cls": token == 0} if card.cls_token else {}
    return {**groups, "image": token >= card.prefix_tokens}


class TokenLabels:
    """Labels of a split's tokens, as arrays.

    Args:
        labels: table of `tokens.table`.
        card: card of the model.
    """

    def __init__(self, labels: pa.Table, card: Card):
        self._card = card
        codes = labels["label"].combine_chunks().indices.to_numpy().reshape(-1, card.image_tokens)
        images = labels["image_id"].to_numpy()[:: card.image_tokens]
        self._codes = dict(zip(images.tolist(), codes, strict=True))

    def groups(self, image_ids: list[int]) -> Groups:
        """Which tokens are `class` and `context`, bool [image, token] each; images without a mask have neither."""
        codes = np.full((len(image_ids), self._card.tokens), -1, np.int8)
        for row, image in enumerate(image_ids):
            if image in self._codes:
                codes[row, self._card.prefix_tokens :] = self._codes[image]
        return {"class": codes == 0, "context": codes == 1}
