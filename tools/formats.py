"""The formats of weights that classlens reads, with a small file of each and the model class that defines it.

`test_formats.py` loads every format and compares logits or features with those of the format's own class; `tools/families.py` lists them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
import torchvision
import transformers as hf
from safetensors.torch import save_file
from torch import Tensor, nn

CLASSES = 5
Reference = Callable[[Tensor], Tensor]
"""Function from images [image, 3, height, width] to the outputs [image, output] of the format's own class."""


@dataclass(frozen=True)
class Format:
    """A format of weights.

    Attributes:
        name: common name.
        note: what is converted, left out or needed, for the page.
        make: function that writes small files into a folder, and returns the path for `weights` and the reference.
        arch: timm name of the model; None for a folder of transformers, which names it.
        kwargs: arguments of the small model.
    """

    name: str
    note: str
    make: Callable[[Path], tuple[Path, Reference]]
    arch: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


def disturbed(model: nn.Module) -> Any:
    """Return the model with other values in every parameter, also in those that begin as zeros or ones."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


# Checkpoints of one model of timm, as training programs and authors store them

TINY: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "mlp_ratio": 1.5}
VIT = "vit_base_patch16_224"
Weights = dict[str, Tensor]


def stored(arch: str, store: Callable[[Weights], Any], file: str = "model.pth", **kwargs: Any) -> Callable[[Path], tuple[Path, Reference]]:
    """Return a function that stores a small timm model's parameters as `store` arranges them."""

    def make(folder: Path) -> tuple[Path, Reference]:
        model = disturbed(timm.create_model(arch, **TINY, **kwargs))
        if store is openclip_trunk:
            model.head.bias.data.zero_()  # its projection has no bias
        content = store({key: value.clone() for key, value in model.state_dict().items()})
        path = folder / file
        if path.suffix == ".npz":
            np.savez(path, **content)
        elif path.suffix == ".safetensors":
            save_file(content, path)
        else:
            torch.save(content, path)
        return path, model

    return make


def prefixed(weights: Weights, prefix: str) -> Weights:
    """Return parameters with a prefix before every name."""
    return {prefix + key: value for key, value in weights.items()}


def other(weights: Weights) -> Weights:
    """Return other values for the same parameters, which must not be used."""
    return {key: value + 1 for key, value in weights.items()}


def timms_training(weights: Weights) -> Any:
    """Return a checkpoint of timm's training script."""
    settings = argparse.Namespace(model=VIT, num_classes=CLASSES)
    return {"epoch": 3, "arch": VIT, "state_dict": other(weights), "state_dict_ema": weights, "args": settings, "metric": 0.9, "version": 2}


def lightning(weights: Weights) -> Any:
    """Return a checkpoint of Lightning."""
    return {"epoch": 3, "state_dict": prefixed(weights, "model."), "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.5.0"}


def own_code(weights: Weights) -> Any:
    """Return a checkpoint of a class with a backbone of timm and a linear classifier."""
    backbone = {key: value for key, value in weights.items() if not key.startswith("head.")}
    head = {"classifier.weight": weights["head.weight"], "classifier.bias": weights["head.bias"]}
    return {"model_state_dict": {**prefixed(backbone, "backbone."), **head}, "optimizer_state_dict": {"state": {}}, "epoch": 3}


def averaged(weights: Weights) -> Any:
    """Return the state of `torch.optim.swa_utils.AveragedModel`."""
    return {"n_averaged": torch.tensor(7), **prefixed(weights, "module.")}


def dino(weights: Weights) -> Any:
    """Return a full checkpoint of DINO: student and teacher, each with a projection head."""
    head = {"head.mlp.0.weight": torch.ones(4, 32), "head.last_layer.weight_g": torch.ones(4, 1)}
    teacher = {**prefixed(weights, "backbone."), **head}
    return {"student": prefixed({**prefixed(other(weights), "backbone."), **head}, "module."), "teacher": teacher, "epoch": 100}


def dinov2(weights: Weights) -> Weights:
    """Return a checkpoint of DINOv2 with registers, whose position embedding includes [CLS]."""
    found = {key: value for key, value in weights.items() if key not in ("cls_token", "pos_embed", "reg_token")}
    position = torch.full((1, 1, 32), 0.25)
    return {
        **found,
        "cls_token": weights["cls_token"] - position,
        "pos_embed": torch.cat([position, weights["pos_embed"]], dim=1),
        "register_tokens": weights["reg_token"],
        "mask_token": torch.zeros(1, 32),
    }


def dinov2_training(weights: Weights) -> Any:
    """Return a training checkpoint of DINOv2, with blocks in groups."""
    grouped = {key.replace("blocks.", "blocks.0.", 1): value for key, value in weights.items()}
    heads = {"dino_head.mlp.0.weight": torch.ones(2, 2), "ibot_head.last_layer.weight_v": torch.ones(2, 2)}
    return {"teacher": {**prefixed({**grouped, "mask_token": torch.zeros(1, 32)}, "backbone."), **heads}}


def swiglu(weights: Weights) -> Weights:
    """Return a checkpoint of DINOv2's giant model, whose gated MLP has other names."""
    return {key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value for key, value in weights.items()}


def dinov3(weights: Weights) -> Weights:
    """Return a checkpoint of DINOv3."""
    found: Weights = {"mask_token": torch.zeros(1, 32), "rope_embed.periods": torch.ones(4)}
    for key, value in weights.items():
        found[key.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")] = value
    return found


def mae(weights: Weights) -> Any:
    """Return a checkpoint of MAE with its decoder."""
    decoder = {"decoder_embed.weight": torch.ones(8, 32), "decoder_blocks.0.norm1.weight": torch.ones(8), "mask_token": torch.ones(1, 1, 8)}
    return {"model": {**weights, **decoder, "decoder_pos_embed": torch.ones(1, 17, 8), "decoder_pred.bias": torch.ones(8)}}


def siglip(weights: Weights) -> Weights:
    """Return a checkpoint of SigLIP with its attention pooling."""
    return {**weights, "attn_pool.latent": torch.ones(1, 1, 32), "attn_pool.q.weight": torch.ones(32, 32)}


def moco(weights: Weights) -> Any:
    """Return a checkpoint of MoCo v3: two encoders, projectors and a predictor."""
    pair = {"base_encoder": weights, "momentum_encoder": other(weights)}
    found = {key: value for name, part in pair.items() for key, value in prefixed(part, f"module.{name}.").items()}
    return {"epoch": 300, "arch": "vit_base", "state_dict": {**found, "module.predictor.0.weight": torch.ones(2, 2)}}


def deit3(weights: Weights) -> Any:
    """Return a checkpoint of DeiT III, whose layer-scale has other names."""
    return {"model": {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value for key, value in weights.items()}}


def beit(weights: Weights) -> Any:
    """Return a checkpoint of BEiT, which stores constants and parts of pretraining."""
    index = {"blocks.0.attn.relative_position_index": torch.zeros(17, 17, dtype=torch.long)}
    return {"module": {**weights, **index, "mask_token": torch.ones(1, 1, 32), "lm_head.weight": torch.ones(3, 32)}}


def eva(weights: Weights) -> Any:
    """Return a checkpoint of EVA-02, which stores rotary positions."""
    return {"module": {**weights, "rope.freqs_cos": torch.ones(16, 8), "rope.freqs_sin": torch.ones(16, 8)}}


def openclip_trunk(weights: Weights) -> Weights:
    """Return a checkpoint of OpenCLIP whose image tower is timm's; its projection is outside of the trunk, and its text tower beside it."""
    trunk = {key: value for key, value in weights.items() if not key.startswith("head.")}
    text = {"text.transformer.resblocks.0.ln_1.weight": torch.ones(4), "logit_scale": torch.tensor(4.6)}
    return {**prefixed(trunk, "visual.trunk."), "visual.head.proj.weight": weights["head.weight"], **text}


def flax(weights: Weights) -> dict[str, np.ndarray]:
    """Return a `.npz` file of Google's ViT: other names, transposed matrices, and an axis of heads in attention."""
    found = {
        "cls": weights["cls_token"],
        "embedding/kernel": weights["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "embedding/bias": weights["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": weights["pos_embed"],
        "Transformer/encoder_norm/scale": weights["norm.weight"],
        "Transformer/encoder_norm/bias": weights["norm.bias"],
        "head/kernel": weights["head.weight"].T,
        "head/bias": weights["head.bias"],
        "pre_logits/kernel": torch.ones(3, 3),
    }
    for number in range(TINY["depth"]):
        block = {key.removeprefix(f"blocks.{number}."): value for key, value in weights.items() if key.startswith(f"blocks.{number}.")}
        names = {"LayerNorm_0": "norm1", "LayerNorm_2": "norm2", "MlpBlock_3/Dense_0": "mlp.fc1", "MlpBlock_3/Dense_1": "mlp.fc2"}
        for theirs, ours in names.items():
            matrix = ("scale", block[f"{ours}.weight"]) if "norm" in ours else ("kernel", block[f"{ours}.weight"].T)
            found[f"Transformer/encoderblock_{number}/{theirs}/{matrix[0]}"] = matrix[1]
            found[f"Transformer/encoderblock_{number}/{theirs}/bias"] = block[f"{ours}.bias"]
        attention = f"Transformer/encoderblock_{number}/MultiHeadDotProductAttention_1"
        heads = (TINY["num_heads"], -1)
        for part, matrix, bias in zip(
            ("query", "key", "value"), block["attn.qkv.weight"].chunk(3), block["attn.qkv.bias"].chunk(3), strict=True
        ):
            found[f"{attention}/{part}/kernel"], found[f"{attention}/{part}/bias"] = matrix.T.unflatten(1, heads), bias.unflatten(0, heads)
        found[f"{attention}/out/kernel"], found[f"{attention}/out/bias"] = (
            block["attn.proj.weight"].T.unflatten(0, heads),
            block["attn.proj.bias"],
        )
    return {key: value.numpy() for key, value in found.items()}


# Checkpoints of other libraries' own classes


def openclip(wrap: Callable[[Weights], Any], quick: bool) -> Callable[[Path], tuple[Path, Reference]]:
    """Return a function that stores a small model of OpenCLIP."""

    def make(folder: Path) -> tuple[Path, Reference]:
        vision = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8, "mlp_ratio": 1.5}
        text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
        model = disturbed(open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text, quick_gelu=quick))
        torch.save(wrap(model.state_dict()), folder / "open_clip_pytorch_model.bin")
        return folder / "open_clip_pytorch_model.bin", model.encode_image

    return make


def of_torchvision(folder: Path) -> tuple[Path, Reference]:
    """Store a small model of torchvision."""
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 48}
    model = disturbed(torchvision.models.VisionTransformer(**sizes, num_classes=CLASSES))
    torch.save(model.state_dict(), folder / "vit.pth")
    return folder / "vit.pth", model


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
TEXT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def logits(model: Any, images: Tensor) -> Tensor:
    """Return the logits of a classifier of transformers."""
    return model(pixel_values=images).logits


def cls_state(model: Any, images: Tensor) -> Tensor:
    """Return the last state of [CLS], which a backbone without a head gives."""
    return model(pixel_values=images).last_hidden_state[:, 0]


def cls_state_of_all_patches(model: Any, images: Tensor) -> Tensor:
    """Return the last state of [CLS] of a masked autoencoder, which shuffles patches; [CLS] does not notice."""
    return model(pixel_values=images, noise=torch.rand(len(images), 16)).last_hidden_state[:, 0]


def mean_state(model: Any, images: Tensor) -> Tensor:
    """Return the mean of the last states of image tokens, which replaces SigLIP's attention pooling."""
    return model(pixel_values=images).last_hidden_state.mean(dim=1)


def folder_of(build: Callable[[], Any], output: Callable[[Any, Tensor], Tensor]) -> Callable[[Path], tuple[Path, Reference]]:
    """Return a function that saves a small model of transformers as a folder."""

    def make(folder: Path) -> tuple[Path, Reference]:
        model = disturbed(build())
        model.save_pretrained(folder)
        return folder, lambda images: output(model, images)

    return make


def classifier(model: Any, config: Any, **settings: Any) -> Callable[[Path], tuple[Path, Reference]]:
    """Return a function that saves a small classifier of transformers."""
    return folder_of(lambda: model(config(**SMALL, num_labels=CLASSES, **settings)), logits)


NO_HEAD = {"num_classes": 0}
HEAD = {"num_classes": CLASSES}
SHARED_BIAS = {"use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True, "use_mean_pooling": False}
FINETUNED = {"global_pool": "avg", **HEAD}
FORMATS = (
    Format("timm, hub or `state_dict`", "as it is", stored(VIT, dict, "model.safetensors", **HEAD), VIT, HEAD),
    Format("timm, training checkpoint", "its averaged weights (EMA)", stored(VIT, timms_training, **HEAD), VIT, HEAD),
    Format("Lightning", "prefix `model.` removed", stored(VIT, lightning, "last.ckpt", **HEAD), VIT, HEAD),
    Format(
        "`DistributedDataParallel` and `torch.compile`",
        "prefixes `module.`, `_orig_mod.` removed",
        stored(VIT, lambda weights: prefixed(weights, "module._orig_mod."), **HEAD),
        VIT,
        HEAD,
    ),
    Format(
        "own class with `backbone` and `classifier`",
        "prefix removed, the linear layer taken as head, with a warning",
        stored(VIT, own_code, **HEAD),
        VIT,
        HEAD,
    ),
    Format("`AveragedModel` of torch", "its counter left out", stored(VIT, averaged, **HEAD), VIT, HEAD),
    Format("Google, `.npz` (ViT, AugReg)", "names and axes converted", stored(VIT, flax, "B_16.npz", **HEAD), VIT, HEAD),
    Format("DINO", "as it is; no head", stored(VIT, dict, **NO_HEAD), VIT, NO_HEAD),
    Format("DINO, full checkpoint", "its teacher, without projection head; no head", stored(VIT, dino, **NO_HEAD), VIT, NO_HEAD),
    Format(
        "DINOv2 with registers",
        "position of [CLS] added to [CLS]; no head",
        stored("vit_base_patch14_reg4_dinov2", dinov2, **NO_HEAD),
        "vit_base_patch14_reg4_dinov2",
        NO_HEAD,
    ),
    Format(
        "DINOv2, training checkpoint",
        "its teacher, without projection heads; no head",
        stored("vit_base_patch14_dinov2", dinov2_training, **NO_HEAD),
        "vit_base_patch14_dinov2",
        NO_HEAD,
    ),
    Format(
        "DINOv2, giant",
        "gated MLP renamed; no head",
        stored("vit_giant_patch14_dinov2", swiglu, **NO_HEAD),
        "vit_giant_patch14_dinov2",
        NO_HEAD,
    ),
    Format(
        "DINOv3", "constants left out; no head", stored("vit_base_patch16_dinov3", dinov3, **NO_HEAD), "vit_base_patch16_dinov3", NO_HEAD
    ),
    Format("MAE", "its encoder; no head", stored(VIT, mae, **NO_HEAD), VIT, NO_HEAD),
    Format(
        "MAE, fine-tuned",
        "needs `kwargs: {global_pool: avg}`",
        stored(VIT, lambda weights: {"model": weights}, **FINETUNED),
        VIT,
        FINETUNED,
    ),
    Format(
        "SigLIP of timm",
        "the mean of image tokens in place of attention pooling; no head",
        stored("vit_base_patch16_siglip_gap_224", siglip, **NO_HEAD),
        "vit_base_patch16_siglip_gap_224",
        NO_HEAD,
    ),
    Format("MoCo v3", "its base encoder, without predictor; no head", stored(VIT, moco, **NO_HEAD), VIT, NO_HEAD),
    Format(
        "DeiT, distilled",
        "as it is",
        stored("deit_base_distilled_patch16_224", lambda weights: {"model": weights}, **HEAD),
        "deit_base_distilled_patch16_224",
        HEAD,
    ),
    Format("DeiT III", "layer-scale renamed", stored("deit3_base_patch16_224", deit3, **HEAD), "deit3_base_patch16_224", HEAD),
    Format(
        "BEiT", "constants and parts of pretraining left out", stored("beit_base_patch16_224", beit, **HEAD), "beit_base_patch16_224", HEAD
    ),
    Format("EVA-02", "constants left out", stored("eva02_base_patch16_clip_224", eva, **HEAD), "eva02_base_patch16_clip_224", HEAD),
    Format(
        "OpenAI's CLIP",
        "its image tower with the projection as head",
        openclip(dict, True),
        "vit_base_patch32_clip_quickgelu_224",
        {"num_classes": 24},
    ),
    Format(
        "OpenCLIP", "its image tower with the projection as head", openclip(dict, False), "vit_base_patch32_clip_224", {"num_classes": 24}
    ),
    Format(
        "OpenCLIP, training checkpoint",
        "its image tower with the projection as head",
        openclip(lambda weights: {"epoch": 3, "name": "run", "state_dict": prefixed(weights, "module.")}, False),
        "vit_base_patch32_clip_224",
        {"num_classes": 24},
    ),
    Format(
        "OpenCLIP with timm's image tower",
        "its image tower with the projection as head",
        stored(VIT, openclip_trunk, num_classes=24, class_token=False, global_pool="avg", fc_norm=False),
        VIT,
        {"num_classes": 24, "class_token": False, "global_pool": "avg", "fc_norm": False},
    ),
    Format("torchvision", "names converted", of_torchvision, VIT, HEAD),
    Format("transformers, ViT", "", classifier(hf.ViTForImageClassification, hf.ViTConfig)),
    Format("transformers, ViT without biases", "", classifier(hf.ViTForImageClassification, hf.ViTConfig, qkv_bias=False)),
    Format("transformers, ViT with another activation", "", classifier(hf.ViTForImageClassification, hf.ViTConfig, hidden_act="gelu_new")),
    Format("transformers, ViT backbone", "no head", folder_of(lambda: hf.ViTModel(hf.ViTConfig(**SMALL)), cls_state)),
    Format("transformers, DeiT", "its second token is a register", classifier(hf.DeiTForImageClassification, hf.DeiTConfig)),
    Format("transformers, DeiT distilled", "", classifier(hf.DeiTForImageClassificationWithTeacher, hf.DeiTConfig)),
    Format("transformers, BEiT", "", classifier(hf.BeitForImageClassification, hf.BeitConfig, use_relative_position_bias=True)),
    Format("transformers, BEiT with a shared bias", "", classifier(hf.BeitForImageClassification, hf.BeitConfig, **SHARED_BIAS)),
    Format("transformers, DINOv2", "no head", folder_of(lambda: hf.Dinov2Model(hf.Dinov2Config(**SMALL)), cls_state)),
    Format(
        "transformers, DINOv2 with SwiGLU",
        "no head",
        folder_of(lambda: hf.Dinov2Model(hf.Dinov2Config(**SMALL, use_swiglu_ffn=True)), cls_state),
    ),
    Format(
        "transformers, DINOv2 with registers",
        "position of [CLS] added to [CLS]; no head",
        folder_of(lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**SMALL)), cls_state),
    ),
    Format(
        "transformers, DINOv3",
        "no head",
        folder_of(lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**SMALL, num_register_tokens=4)), cls_state),
    ),
    Format(
        "transformers, DINOv3 with a gated MLP",
        "no head",
        folder_of(lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**SMALL, use_gated_mlp=True, hidden_act="silu")), cls_state),
    ),
    Format(
        "transformers, MAE",
        "no head",
        folder_of(lambda: hf.ViTMAEModel(hf.ViTMAEConfig(**SMALL, mask_ratio=0.0)), cls_state_of_all_patches),
    ),
    Format(
        "transformers, CLIP's image model",
        "no head",
        folder_of(lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**SMALL)), lambda model, images: model(pixel_values=images).pooler_output),
    ),
    Format(
        "transformers, CLIP's image model with projection",
        "the projection is the head",
        folder_of(
            lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**SMALL, projection_dim=16)),
            lambda model, images: model(pixel_values=images).image_embeds,
        ),
    ),
    Format(
        "transformers, CLIP",
        "its image tower with the projection as head",
        folder_of(
            lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=dict(SMALL), text_config=dict(TEXT), projection_dim=24)),
            lambda model, images: model.visual_projection(model.vision_model(pixel_values=images).pooler_output),
        ),
    ),
    Format(
        "transformers, SigLIP's classifier",
        "",
        folder_of(
            lambda: hf.SiglipForImageClassification(hf.SiglipConfig(vision_config=dict(SMALL), text_config=dict(TEXT), num_labels=CLASSES)),
            logits,
        ),
    ),
    Format(
        "transformers, SigLIP",
        "the mean of image tokens in place of attention pooling; no head",
        folder_of(lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**SMALL)), mean_state),
    ),
)
