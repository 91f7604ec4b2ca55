"""Differences between timm's families of Vision Transformers inside attention: masks, positions and values.

`trace` reads everything else of a model at places that all families share. Plain models (ViT, DeiT, CLIP...) add a position embedding to
the tokens once; BEiT and EVA-02 use positions in the attention of every block.
"""

from collections.abc import Callable
from typing import Any

import torch
from timm.models import Beit, Eva, VisionTransformer, VisionTransformerDistilled
from timm.models.eva import EvaBlockPostNorm
from timm.models.vision_transformer import ResPostBlock
from timm.models.vision_transformer_relpos import ResPostRelPosBlock
from torch import Tensor
from torch.nn import functional

from classlens.trace import ViT

POST_NORM = (ResPostBlock, EvaBlockPostNorm, ResPostRelPosBlock)
"""Blocks with a norm after each sublayer instead of before it."""


def _none(model: ViT) -> list[dict[str, Any]]:
    return [{} for _ in model.blocks]


def _rotations(model: ViT) -> list[dict[str, Any]]:
    """Return the rotary embedding that each block of an EVA model receives."""
    if model.rope is None:
        return _none(model)
    known = getattr(model.rope, "feat_shape", None) is not None
    rotations = model.rope.get_embed() if known else model.rope.get_embed(shape=model.patch_embed.grid_size)
    return [{"rope": rotations[index] if model.rope_mixed else rotations} for index in range(len(model.blocks))]


def _shared_bias(model: ViT) -> list[dict[str, Any]]:
    """Return the relative position bias that all blocks of a BEiT model share; None if only the blocks have their own."""
    bias = model.rel_pos_bias() if model.rel_pos_bias is not None else None
    return [{"shared_rel_pos_bias": bias} for _ in model.blocks]


# Functions that return each block's arguments besides the states, by exact class: a subclass may change attention.
_POSITIONS: dict[type, Callable[[Any], list[dict[str, Any]]]] = {
    VisionTransformer: _none,
    VisionTransformerDistilled: _none,
    Eva: _rotations,
    Beit: _shared_bias,
}


def takes_masks(model: ViT) -> bool:
    """Return whether classlens can give the model's attention a mask."""
    return type(model) in _POSITIONS


def attends_by_position(model: ViT) -> bool:
    """Return whether attention depends on token positions, so that no token can be removed from the sequence."""
    return isinstance(model, Beit) or getattr(model, "rope", None) is not None


def attends_with_gate(model: ViT) -> bool:
    """Return whether attention multiplies what heads write by a gate."""
    return any(getattr(block.attn, "gate", None) is not None for block in model.blocks)


def block_arguments(model: ViT, mask: Tensor | None) -> list[dict[str, Any]]:
    """Return each block's arguments besides the states: positions that attention uses, and the attention mask.

    Args:
        model: a model that `takes_masks` accepts.
        mask: which tokens (last axis) each token (second to last axis) may attend to, bool, broadcastable to [image, head, token, token];
            None for all.
    """
    given = _POSITIONS[type(model)](model)
    if mask is None:
        return given
    if not isinstance(model, Beit):
        return [{**arguments, "attn_mask": mask} for arguments in given]
    forbidden = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)  # BEiT's attention takes an additive bias
    shared = given[0]["shared_rel_pos_bias"]
    return [{"shared_rel_pos_bias": forbidden if shared is None else shared + forbidden} for _ in given]


def values(attention: Any, states: Tensor) -> Tensor:
    """Return the value vectors of an attention layer, [image, token, head, head width].

    Args:
        attention: the module `attn` of a block.
        states: its input, [image, token, width].
    """
    if attention.qkv is None:
        found = attention.v_proj(states).unflatten(-1, (getattr(attention, "num_kv_heads", attention.num_heads), -1))
        return found.repeat_interleave(getattr(attention, "num_kv_groups", 1), dim=2)
    weight = attention.qkv.weight.chunk(3)[2]
    return functional.linear(states, weight, value_bias(attention)).unflatten(-1, (attention.num_heads, -1))


def value_bias(attention: Any) -> Tensor | None:
    """Return the bias of the value vectors of an attention layer, heads concatenated, [width of the heads]; None if there is none."""
    if attention.qkv is None:
        bias, groups = attention.v_proj.bias, getattr(attention, "num_kv_groups", 1)
        return (
            None
            if bias is None
            else bias.unflatten(0, (-1, len(bias) * groups // attention.num_heads)).repeat_interleave(groups, dim=0).flatten()
        )
    if getattr(attention, "v_bias", None) is not None:  # BEiT and EVA have no key bias, and store the query and value biases separately
        return attention.v_bias
    return None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[2]
