"""What timm's families of Vision Transformers do differently inside attention: masks, positions and values.

Everything else of a model is read at places that all families share (`trace`). Plain models (ViT, DeiT, CLIP...) know positions from an
embedding that is added to the tokens once; BEiT and EVA-02 tell attention about them in every block.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from classlens.trace import ViT


def _none(model: ViT) -> list[dict[str, Any]]:
    return [{} for _ in model.blocks]


def _rotations(model: ViT) -> list[dict[str, Any]]:
    """The rotary embedding that each block of an EVA model gets."""
    if model.rope is None:
        return _none(model)
    known = getattr(model.rope, "feat_shape", None) is not None
    rotations = model.rope.get_embed() if known else model.rope.get_embed(shape=model.patch_embed.grid_size)
    return [{"rope": rotations[index] if model.rope_mixed else rotations} for index in range(len(model.blocks))]


def _shared_bias(model: ViT) -> list[dict[str, Any]]:
    """The relative position bias that all blocks of a BEiT model share, where it has one beside those of the blocks."""
    bias = model.rel_pos_bias() if model.rel_pos_bias is not None else None
    return [{"shared_rel_pos_bias": bias} for _ in model.blocks]


# What a model's blocks are called with beside the states, by class.
_POSITIONS = {"VisionTransformer": _none, "VisionTransformerDistilled": _none, "Eva": _rotations, "Beit": _shared_bias}


def takes_masks(model: ViT) -> bool:
    """Whether it is known how to tell the attention of a model what it may attend to."""
    return type(model).__name__ in _POSITIONS


def attends_by_position(model: ViT) -> bool:
    """Whether attention depends on where tokens are, so that none can be taken out of the sequence."""
    return type(model).__name__ == "Beit" or getattr(model, "rope", None) is not None


def block_arguments(model: ViT, mask: Tensor | None) -> list[dict[str, Any]]:
    """Arguments of each block beside the states: positions that attention uses, and what may be attended to.

    Args:
        model: a model for which `takes_masks`.
        mask: which tokens (last axis) each token (one but last) may attend to, bool, to be broadcast to [image, head, token, token]; None
            for all.
    """
    given = _POSITIONS[type(model).__name__](model)
    if mask is None:
        return given
    if type(model).__name__ != "Beit":
        return [{**arguments, "attn_mask": mask} for arguments in given]
    forbidden = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)  # BEiT's attention only adds biases
    shared = given[0]["shared_rel_pos_bias"]
    return [{"shared_rel_pos_bias": forbidden if shared is None else shared + forbidden} for _ in given]


def values(attention: Any, states: Tensor) -> Tensor:
    """Value vectors of an attention layer, [image, token, head, head width].

    Args:
        attention: `attn` of a block.
        states: its input, [image, token, width].
    """
    if attention.qkv is None:
        found = attention.v_proj(states).unflatten(-1, (getattr(attention, "num_kv_heads", attention.num_heads), -1))
        return found.repeat_interleave(getattr(attention, "num_kv_groups", 1), dim=2)
    weight = attention.qkv.weight.chunk(3)[2]
    return functional.linear(states, weight, _value_bias(attention)).unflatten(-1, (attention.num_heads, -1))


def _value_bias(attention: Any) -> Tensor | None:
    if getattr(attention, "v_bias", None) is not None:  # BEiT and EVA have no bias of keys, and keep the others apart
        return attention.v_bias
    return None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[2]
