"""Small random models of other authors' code under timm's names, and checks, for the scripts that make the numbers of peers."""

import re
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

SIZES: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 3, "mlp_ratio": 2}

TIMM_NAMES = (
    (r"^class_(token|embedding)$", "cls_token"),
    (r"^(encoder\.pos|positional)_embedding$", "pos_embed"),
    (r"^(conv_proj|conv1)\.", "patch_embed.proj."),
    (r"^(encoder\.layers\.encoder_layer_|transformer\.resblocks\.)", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.(self_attention|attn)\.in_proj_", ".attn.qkv."),
    (r"\.(self_attention|attn)\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(0|c_fc)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|c_proj)\.", ".mlp.fc2."),
    (r"^ln_pre\.", "norm_pre."),
    (r"^(encoder\.ln|ln_post)\.", "norm."),
    (r"^heads\.head\.", "head."),
    (r"^proj$", "projection"),
)
"""Names of weights in torchvision, open_clip and clip_text_span, and in timm."""


def float32_numbers(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Tensor:
    """Return normal numbers that float32 holds without loss, in float64."""
    return torch.from_numpy((scale * rng.standard_normal(shape)).astype(np.float32).astype(np.float64))


def randomise(model: nn.Module, rng: np.random.Generator) -> None:
    """Make all weights random: norms around 1, and layers that make their output 1.7 times as large as a normal input."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embedding" in name or "class_token" in name:
                scale = 0.7
            elif weight.ndim == 1:
                scale = 0.3
            else:
                scale = 1.7 / (len(weight) if name == "proj" else weight[0].numel()) ** 0.5
            weight.copy_(float32_numbers(rng, tuple(weight.shape), scale))
            if weight.ndim == 1 and name.endswith("weight"):
                weight += 1
                weight.copy_(weight.float())


def timm_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights under timm's names."""
    weights = {}
    for name, weight in model.named_parameters():
        for pattern, replacement in TIMM_NAMES:
            name = re.sub(pattern, replacement, name)
        weights[name] = weight.detach()
    weights["cls_token"] = weights["cls_token"].reshape(1, 1, -1)
    weights["pos_embed"] = weights["pos_embed"].reshape(1, -1, weights["cls_token"].shape[-1])
    return weights


def timm_model(name: str, weights: dict[str, Tensor], classes: int) -> nn.Module:
    """Return a small model of timm, in float64 and in evaluation mode, with these weights."""
    model = timm.create_model(name, num_classes=classes, **SIZES).double().eval()
    model.load_state_dict(weights)
    return model


def require(condition: bool, what: str) -> None:
    """Raise an error unless a condition is true."""
    if not condition:
        raise RuntimeError(f"not true: {what}")


def exact(weight: Tensor) -> Tensor:
    """Return a weight in float32; it must lose nothing."""
    require(torch.equal(weight.float().double(), weight), "float32 holds the weights without loss")
    return weight.float()


def same(first: Tensor, second: Tensor, what: str, limit: float = 1e-12) -> None:
    """Raise an error if two tensors differ by more than a limit."""
    difference = float((first - second).detach().abs().max())
    print(f"{what}: largest difference {difference:.1e}")
    require(difference < limit, what)
