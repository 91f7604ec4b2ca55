"""How attention and MLP layers build the class: what they add to its logit, and whose top class the residual stream takes on.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.2; methods, section 4.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from classlens.analyses.groups import TokenLabels, by_position, means_per_image
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card
from classlens.protocol import Protocol

SOURCES = ("previous", "attn", "mlp", "composition")


def change_rates(batch: Projections, protocol: Protocol) -> dict[str, np.ndarray]:
    """Change of the true class's logit from a sub-layer's input to its contribution, each [image, token, block], NaN in the first block.

    Returns:
        `{layer}_change`: whether the logit of what the layer adds is larger than that of its input; `{layer}_logit_change`: by how much.
    """
    logits = {site: batch.of(batch.logit, site) for site in ("resid_post", "resid_mid", "attn_out", "mlp_out")}
    previous = _previous(logits["resid_post"])
    middle = previous if protocol.mlp_against_previous_block else np.where(np.isnan(previous), np.nan, logits["resid_mid"])
    result = {}
    for layer, before in (("attn", previous), ("mlp", middle)):
        change = logits[f"{layer}_out"] - before
        result[f"{layer}_change"] = np.where(np.isnan(change), np.nan, change > 0).astype(np.float32)
        result[f"{layer}_logit_change"] = change.astype(np.float32)
    return result


def composition(batch: Projections, protocol: Protocol) -> dict[str, np.ndarray]:
    """Whether a token's top class is that of the previous block's output, of what attention or MLP adds, or of none of them.

    Returns:
        `previous`, `attn`, `mlp` and `composition`, each [image, token, block], NaN in the first block. They may overlap, so they need
        not sum to one.
    """
    top = {site: batch.of(batch.top, site)[..., 0].astype(np.float32) for site in ("resid_post", "attn_out", "mlp_out")}
    previous = _previous(top["resid_post"])
    same = {
        "previous": top["resid_post"] == previous,
        "attn": top["resid_post"] == top["attn_out"],
        "mlp": top["resid_post"] == top["mlp_out"],
    }
    tested = ("previous", "attn") if protocol.composition_ignores_mlp else ("previous", "attn", "mlp")
    same["composition"] = ~np.logical_or.reduce([same[name] for name in tested])
    return {name: np.where(np.isnan(previous), np.nan, value).astype(np.float32) for name, value in same.items()}


def _previous(values: np.ndarray) -> np.ndarray:
    """The previous block's value, NaN in the first block."""
    result = np.full(values.shape, np.nan, np.float32)
    result[..., 1:] = values[..., :-1]
    return result


def per_image(
    batches: Iterable[Projections], labels: TokenLabels | None, card: Card, protocol: Protocol
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Change rates and residual composition per image, from the second block on.

    Args:
        batches: projections.
        labels: token labels; None where the images have no masks.
        card: the model's card.
        protocol: settles what the MLP is compared with, and what a composition is.

    Returns:
        rows (tokens, image, block) with n, attn_change, mlp_change (shares of tokens), attn_logit_change and mlp_logit_change (means), for
        tokens cls, image and, with labels, class and context;
        rows (image, block) with n and the shares previous, attn, mlp and composition over all tokens.
    """
    changes, compositions = [], []
    for batch in batches:
        images = len(batch.image_ids)
        groups = {**by_position(card, images), **(labels.groups(batch.image_ids) if labels else {})}
        changes.append(means_per_image(batch.image_ids, groups, change_rates(batch, protocol)))
        everything = {"all": np.ones((images, card.tokens), bool)}
        compositions.append(means_per_image(batch.image_ids, everything, composition(batch, protocol)))
    later = pl.col("block") > 0
    return (
        pl.concat(changes).filter(later).sort("tokens", "image_id", "block"),
        pl.concat(compositions).filter(later).sort("image_id", "block"),
    )
