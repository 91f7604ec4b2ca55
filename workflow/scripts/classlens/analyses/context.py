"""Whether the class is more identifiable at tokens that show the object than at those of its context.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 3.
"""

from collections.abc import Iterable

import polars as pl

from classlens.analyses import identifiability
from classlens.analyses.groups import TokenLabels, means_per_image
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card


def per_image(batches: Iterable[Projections], labels: TokenLabels, card: Card) -> pl.DataFrame:
    """Identifiability of class and of context tokens, rows (tokens, image, block) with n and identifiability; null where n is 0."""
    frames = []
    for batch in batches:
        values = {"identifiability": identifiability.measures(batch, card)["identifiability"]}
        frames.append(means_per_image(batch.image_ids, labels.groups(batch.image_ids), values))
    return pl.concat(frames).sort("tokens", "image_id", "block")
