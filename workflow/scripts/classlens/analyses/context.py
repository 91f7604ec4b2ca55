"""Class identifiability at class tokens, which show the object, and at context tokens around it.

If class tokens are more identifiable, class information is concentrated on the object. A high identifiability of context tokens says that
it has reached the background, or that the background predicts the class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1. See docs/analyses/context.md.
"""

from collections.abc import Iterable

import polars as pl

from classlens.analyses import identifiability
from classlens.analyses.groups import TokenLabels, means_per_image
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card


def per_image(batches: Iterable[Projections], labels: TokenLabels, card: Card) -> pl.DataFrame:
    """Return the identifiability of class and context tokens, rows (tokens, image, block) with n and identifiability; null where n is 0."""
    frames = []
    for batch in batches:
        values = {"identifiability": identifiability.measures(batch, card)["identifiability"]}
        frames.append(means_per_image(batch.image_ids, labels.groups(batch.image_ids), values))
    return pl.concat(frames).sort("tokens", "image_id", "block")
