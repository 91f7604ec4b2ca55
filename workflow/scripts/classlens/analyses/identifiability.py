"""Class identifiability at each token, and its evolution over blocks.

The true class is identifiable at a token if the projection of the token's hidden state ranks it first. Class identifiability brings the
rank to a scale from 1 (first of C classes) to 1/C (last). Measures are kept per image, because statistics resample images.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1. See docs/analyses/identifiability.md.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl

from classlens.analyses.groups import by_position, means_per_image
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card
from classlens.protocol import Protocol

if TYPE_CHECKING:
    from torch import Tensor

Ranks = TypeVar("Ranks", "Tensor", "np.ndarray", float)


def class_identifiability(ranks: Ranks, num_classes: int) -> Ranks:
    """Return class identifiability, 1 - rank / C, which is 1 if the class ranks first. `chance` is its mean over random rankings.

    Args:
        ranks: ranks of any shape; 0 is first.
        num_classes: number C of classes.
    """
    return 1 - ranks / num_classes


def chance(num_classes: int) -> float:
    """Return the mean class identifiability of random rankings: 1 - (C - 1) / (2 C)."""
    return 1 - (num_classes - 1) / (2 * num_classes)


def measures(batch: Projections, card: Card) -> dict[str, np.ndarray]:
    """Return class identifiability, whether the class ranks first, and whether its logit has grown, each [image, token, block].

    `change_rate` compares the logit after a block with the logit after the previous block, and is NaN in the first block.
    """
    ranks, logits = batch.of(batch.rank, "resid_post"), batch.of(batch.logit, "resid_post")
    grown = np.full(logits.shape, np.nan, np.float32)
    grown[..., 1:] = logits[..., 1:] > logits[..., :-1]
    return {
        "identifiability": class_identifiability(ranks.astype(np.float32), card.classes),
        "first": (ranks == 0).astype(np.float32),
        "change_rate": grown,
    }


def per_image(batches: Iterable[Projections], card: Card, protocol: Protocol) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return measures per image, block and token group, and how often each rank occurs.

    Returns:
        two tables. The first has rows (tokens, image, block) with n, identifiability (mean of 1 - rank / C), first (share of tokens with
        rank 0) and change_rate (share of tokens whose logit grew in the block; null in the first block). The second has rows (tokens,
        block, rank) with count.
    """
    frames: list[pl.DataFrame] = []
    counts: dict[str, np.ndarray] = {}
    for batch in batches:
        groups = by_position(card, len(batch.image_ids))
        values = measures(batch, card)
        frame = means_per_image(batch.image_ids, groups, values)
        if protocol.drop_first_patch_of_pooled and not card.cls_token:
            fewer = {"image": groups["image"] & (np.arange(card.tokens) > card.prefix_tokens)}
            frame = frame.with_columns(means_per_image(batch.image_ids, fewer, values).select("first", "change_rate"))
        frames.append(frame)
        ranks = batch.of(batch.rank, "resid_post")
        for name, members in groups.items():
            counts[name] = counts.get(name, 0) + _rank_counts(ranks[members], card)
    return pl.concat(frames).sort("tokens", "image_id", "block"), _count_table(counts)


def _rank_counts(ranks: np.ndarray, card: Card) -> np.ndarray:
    """Return how often each rank occurs in each block, [block, class], from ranks [token, block]."""
    cell = ranks.astype(np.int64) + card.classes * np.arange(card.depth)
    return np.bincount(cell.ravel(), minlength=card.depth * card.classes).reshape(card.depth, card.classes)


def _count_table(counts: dict[str, np.ndarray]) -> pl.DataFrame:
    frames = []
    for name, count in sorted(counts.items()):
        block, rank = np.nonzero(count)
        frames.append(
            pl.DataFrame({"tokens": name, "block": block.astype(np.int16), "rank": rank.astype(np.int32), "count": count[block, rank]})
        )
    return pl.concat(frames)
