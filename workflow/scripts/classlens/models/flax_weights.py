"""Parameters of Google's own Vision Transformers (`.npz` files of the ViT, AugReg and Big Vision repositories) under timm's names.

Source: `timm.models.vision_transformer._load_weights`, which loads such a file into a model; a test compares both.
"""

import re

import torch
from torch import Tensor

BLOCK = re.compile(r"^Transformer/encoderblock_(\d+)/(.+)$")
PARTS = {
    "LayerNorm_0": "norm1",
    "LayerNorm_2": "norm2",
    "LayerNorm_1": "norm2",  # the repository Big Vision counts norms without the sublayers
    "MlpBlock_3/Dense_0": "mlp.fc1",
    "MlpBlock_3/Dense_1": "mlp.fc2",
    "MlpBlock_0/Dense_0": "mlp.fc1",
    "MlpBlock_0/Dense_1": "mlp.fc2",
}
"""Parts of a block and their names in timm."""
ATTENTION = re.compile(r"^MultiHeadDotProductAttention_[01]/(query|key|value|out)/(kernel|bias)$")
OUTER = {
    "cls": "cls_token",
    "pos_embedding": "pos_embed",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/bias": "head.bias",
}
"""Parameters outside of blocks that only change their name."""
PREFIX = re.compile(r"^(opt/target/|params/img/|params/)")


def is_flax(weights: dict[str, Tensor]) -> bool:
    """Return whether parameters have the names of Google's repositories."""
    return any(key.endswith("embedding/kernel") for key in weights)


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters under timm's names and in timm's shapes; those with other names stay as they are."""
    found = dict(_converted(PREFIX.sub("", key), value) for key, value in weights.items())
    for query in [key for key in found if ".attn.query." in key]:
        parts = [found.pop(query.replace("query", part)) for part in ("query", "key", "value")]
        found[query.replace("query", "qkv")] = torch.cat(parts)
    return found


def _converted(name: str, value: Tensor) -> tuple[str, Tensor]:
    """Return a parameter's name and value in timm; query, key and value are still three parameters."""
    if name == "embedding/kernel":
        return "patch_embed.proj.weight", value.permute(3, 2, 0, 1)
    if name == "head/kernel":
        return "head.weight", value.T
    if not (match := BLOCK.match(name)):
        return OUTER.get(name, name), value
    module, _, kind = match[2].rpartition("/")
    if attention := ATTENTION.match(match[2]):
        value = _without_heads(attention[1], kind, value)
        module = "attn.proj" if attention[1] == "out" else f"attn.{attention[1]}"
    weight = "bias" if kind == "bias" else "weight"
    return f"blocks.{match[1]}.{PARTS.get(module, module)}.{weight}", value.T if kind == "kernel" else value


def _without_heads(part: str, kind: str, value: Tensor) -> Tensor:
    """Return a parameter of attention without its axis of heads: the last axes of query, key and value, the first ones of the output."""
    if kind == "bias":
        return value.flatten()
    return value.flatten(0, 1) if part == "out" else value.flatten(1)
