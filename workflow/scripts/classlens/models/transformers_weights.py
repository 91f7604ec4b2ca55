"""Parameters of Hugging Face transformers and of torchvision under timm's names.

Source: the parameter names of the published checkpoints; the equivalence of each format is tested against its own model class.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from classlens.progress import log
from classlens.trace import ViT

LEFT_OUT = re.compile(
    r"^(decoder|text_model|text_projection|logit_|lm_head|pooler\.dense|head\.(attention|probe|layernorm|mlp)|embeddings\.mask_token)"
    r"|position_ids$|relative_position_index$"
)
"""Parameters of transformers for pretraining, text or another pooling, which the image model does not use."""
MODEL = re.compile(r"^(vit|deit|beit|dinov2|dinov2_with_registers|dinov3_vit|vision_model|clip\.vision_model)\.")
RENAMED = [
    (r"^embeddings\.(cls_token|class_embedding)$", "cls_token"),
    (r"^embeddings\.position_embeddings$|^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.(patch_embeddings\.projection|patch_embeddings?)\.", "patch_embed.proj."),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^(encoder\.layers?|model\.layer|layer)\.(\d+)\.", r"blocks.\2."),
    (r"^encoder\.relative_position_bias\.", "rel_pos_bias."),
    (r"attention\.attention\.relative_position_bias\.", "attn."),
    (r"attention\.attention\.(query|key|value)\.", r"attn.\1."),
    (r"(self_attn|attention)\.q_proj\.", "attn.query."),
    (r"(self_attn|attention)\.k_proj\.", "attn.key."),
    (r"(self_attn|attention)\.v_proj\.", "attn.value."),
    (r"(attention\.output\.dense|self_attn\.out_proj|attention\.o_proj)\.", "attn.proj."),
    (r"mlp\.gate_proj\.", "mlp.fc1_g."),
    (r"(intermediate\.dense|mlp\.weights_in|mlp\.up_proj)\.", "mlp.fc1."),
    (r"(output\.dense|mlp\.weights_out|mlp\.down_proj)\.", "mlp.fc2."),
    (r"(layernorm_before|layer_norm1)\.", "norm1."),
    (r"(layernorm_after|layer_norm2)\.", "norm2."),
    (r"lambda_([12])$", r"gamma_\1"),
    (r"layer_scale([12])\.lambda1$", r"ls\1.gamma"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^(layernorm|post_layernorm)\.", "norm."),
    (r"^(classifier|cls_classifier|visual_projection)\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
]
"""Names of transformers, without the model's prefix, and what timm calls them; all that match are applied in turn."""
TORCHVISION = [
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"self_attention\.in_proj_", "attn.qkv."),
    (r"self_attention\.out_proj\.", "attn.proj."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"mlp\.(0|linear_1)\.", "mlp.fc1."),
    (r"mlp\.(3|linear_2)\.", "mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
]
"""Names of torchvision's `vit_*`, and what timm calls them."""


def format_of(weights: Mapping[str, Tensor]) -> str | None:
    """Return `transformers` or `torchvision` for parameters under these libraries' names, or None."""
    if any(re.search(r"(^|\.)encoder\.layers\.encoder_layer_\d+\.", key) for key in weights):
        return "torchvision"
    shared = r"(^|\.)(encoder\.)?layers?\.\d+\.(attention\.attention|self_attn|attention\.q_proj)\."
    return "transformers" if any(re.search(shared, key) for key in weights) else None


def converted(weights: dict[str, Tensor], model: ViT) -> dict[str, Tensor]:
    """Return parameters under timm's names; those under other names than the two libraries' stay as they are.

    Args:
        weights: parameters by name.
        model: the timm model, whose parameters settle what the distillation token becomes and which biases exist.
    """
    form = format_of(weights)
    if form == "torchvision":
        return of_torchvision(weights)
    return _of_transformers(weights, model) if form else weights


def of_torchvision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters of torchvision under timm's names."""
    return {_renamed(key, TORCHVISION): value for key, value in weights.items()}


def _renamed(name: str, renames: list[tuple[str, str]]) -> str:
    for pattern, new in renames:
        name = re.sub(pattern, new, name)
    return name


def _of_transformers(weights: dict[str, Tensor], model: ViT) -> dict[str, Tensor]:
    own = model.state_dict()
    bare = {MODEL.sub("", key): value for key, value in weights.items()}
    kept = {key: value for key, value in bare.items() if not LEFT_OUT.search(key) and value.numel()}  # no register has no values
    if "head.weight" not in own:  # a backbone
        kept = {key: value for key, value in kept.items() if not key.startswith(("classifier.", "visual_projection."))}
    if left := sorted(bare.keys() - kept.keys()):
        log.info("left out, because the image model does not use them: %s", ", ".join(left))
    token = "dist_token" if "dist_token" in own else "reg_token"
    found = {token if key == "embeddings.distillation_token" else _renamed(key, RENAMED): value for key, value in kept.items()}
    found = {_of_eva(key, own): value for key, value in found.items()}
    return _with_positions_of_tokens(_in_timms_shapes(_with_joint_attention(found, own), own), model)


def _of_eva(name: str, own: Mapping[str, Tensor]) -> str:
    """Return a parameter's name in timm's EVA (DINOv3) if the model is one, where layer-scale and the gated MLP have other names."""
    if "blocks.0.gamma_1" in own:
        name = re.sub(r"ls([12])\.gamma$", r"gamma_\1", name)
    return name.replace("mlp.fc1.", "mlp.fc1_x.") if "blocks.0.mlp.fc1_x.weight" in own else name


def _with_joint_attention(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters with query, key and value in one matrix. BEiT stores the biases of query and value, and has none of the key."""
    found = {key: value for key, value in weights.items() if not re.search(r"attn\.(query|key|value)\.", key)}
    for key in weights:
        if not (match := re.fullmatch(r"(.*attn)\.query\.(weight|bias)", key)):
            continue
        attention, part = match.groups()
        if f"{attention}.q_bias" in own and part == "bias":
            found[f"{attention}.q_bias"], found[f"{attention}.v_bias"] = weights[key], weights[f"{attention}.value.bias"]
        else:
            parts = [weights.get(f"{attention}.{name}.{part}") for name in ("query", "key", "value")]
            found[f"{attention}.qkv.{part}"] = torch.cat([value for value in parts if value is not None])
    return found


def _in_timms_shapes(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters with the leading axes of timm's tokens and positions, and the zero bias of a projection without one."""
    found = dict(weights)
    for key in ("cls_token", "pos_embed"):
        while key in found and found[key].dim() < 3:
            found[key] = found[key][None]
    if "head.bias" in own and "head.weight" in found and "head.bias" not in found:
        found["head.bias"] = torch.zeros(len(found["head.weight"]))
    return found


def _with_positions_of_tokens(weights: dict[str, Tensor], model: ViT) -> dict[str, Tensor]:
    """Return parameters of a model that adds positions to image tokens only (DINOv2 with registers): [CLS] takes its own with it."""
    if not getattr(model, "no_embed_class", False) or not {"cls_token", "pos_embed"} <= weights.keys():
        return weights
    positions = weights["pos_embed"]
    return {**weights, "cls_token": weights["cls_token"] + positions[:, :1], "pos_embed": positions[:, 1:]}


def with_resized_positions(weights: dict[str, Tensor], model: ViT) -> dict[str, Tensor]:
    """Return parameters with the position embedding resized to the model's grid as transformers does, which differs from timm.

    Transformers resizes a square grid by bicubic interpolation, without antialiasing except for DINOv2 with registers.
    """
    positions, (height, width) = weights.get("pos_embed"), model.patch_embed.grid_size
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    side = 0 if positions is None else math.isqrt(positions.shape[1] - prefix)
    if positions is None or positions.shape[1] == prefix + height * width or side**2 != positions.shape[1] - prefix:
        return weights
    grid = positions[:, prefix:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    antialias = getattr(model, "no_embed_class", False)
    resized = functional.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False, antialias=antialias)
    return {**weights, "pos_embed": torch.cat([positions[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)}
