"""How attention and MLP sublayers build the class.

A sublayer builds the class if the true class has a larger logit in its output than in its input (change rate). If the top class of the
residual stream is also that of a sublayer's output, the stream follows this sublayer (residual composition).

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.2. See docs/analyses/building.md.
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
    """Return the change of the true class's logit from each sublayer's input to its output.

    Returns:
        `{layer}_logit_change`, the logit of the sublayer's output minus that of its input, and `{layer}_change`, whether this is positive.
        Each is [image, token, block], and NaN in the first block.
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
    """Return whether a token's top class is that of the previous block, of attention's output, of the MLP's output, or of none of them.

    Returns:
        `previous`, `attn`, `mlp` and `composition` (none of them), each [image, token, block], and NaN in the first block. The first three
        can be true together, so the four need not sum to one.
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
    """Return the values of the previous block; NaN in the first block."""
    result = np.full(values.shape, np.nan, np.float32)
    result[..., 1:] = values[..., :-1]
    return result


def per_image(
    batches: Iterable[Projections], labels: TokenLabels | None, card: Card, protocol: Protocol
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return change rates and residual composition per image, from the second block on.

    Args:
        batches: projections.
        labels: token labels; None if the images have no masks.
        card: the model's card.
        protocol: chooses what the MLP is compared with, and the definition of composition.

    Returns:
        two tables. The first has rows (tokens, image, block) for the tokens cls, image and, with labels, class and context; its columns are
        n, attn_change and mlp_change (shares of tokens), attn_logit_change and mlp_logit_change (means). The second has rows (image, block)
        with n and the shares previous, attn, mlp and composition over all tokens.
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
