"""Vision Transformers of Hugging Face transformers: the files that describe a model, read as timm's architecture and transform.

A folder of transformers (`config.json`, `model.safetensors`, `preprocessor_config.json`) describes its model completely. timm has the same
models under other names, so the description becomes a timm architecture with keyword arguments, and `transformers_weights` renames the
parameters. Neither timm nor torch is imported here: the plan of a run needs the descriptions.

Source: the model and image processor classes of transformers 4 and 5; each model type is tested against its class.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classlens.errors import InputError, first_line, printable

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights file of a folder, the best first."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
"""timm's name of each activation."""
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Interpolations by their number in Pillow."""
DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
"""Defaults of most configuration classes, which leave default values out of `config.json`."""
DEFAULT_CLASSES = 2
"""Number of classes of a classifier whose config does not say."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """A model of transformers in timm's terms.

    Attributes:
        arch: the timm architecture.
        kwargs: arguments of `loading.build` that override those of the architecture.
        transform: the image transform, as in a config; None if the folder has no preprocessor.
        has_classifier: whether the model has a classifier, and not only features or a projection to text embeddings.
    """

    arch: str
    kwargs: Settings
    transform: Settings | None
    has_classifier: bool = True


def is_transformers(content: Any) -> bool:
    """Return whether the content of a `config.json` describes a model of transformers."""
    return isinstance(content, dict) and "model_type" in content and "architecture" not in content


def is_described(weights: Path) -> bool:
    """Return whether a file is the weights of a folder of transformers, which describes its architecture and transform."""
    if weights.name not in WEIGHTS or not (weights.parent / CONFIG).is_file():
        return False
    return is_transformers(_json(weights.parent / CONFIG))


def read(folder: Path) -> Description:
    """Return the description of the model in a folder.

    Raises:
        InputError: a file is missing or damaged, or the model has no counterpart in timm.
    """
    content = _json(folder / CONFIG)
    if not is_transformers(content):
        raise InputError(f"{folder / CONFIG} does not describe a model of transformers: it has no `model_type`")
    preprocessor = _json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else None
    return describe(content, preprocessor, str(folder))


def weights_file(folder: Path) -> Path:
    """Return the path of a folder's weights.

    Raises:
        InputError: the folder has no weights, or they are spread over several files.
    """
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found:
        return found
    if any((folder / f"{name}.index.json").is_file() for name in WEIGHTS):
        raise InputError(f"{folder}: its weights are spread over several files: save the model again as one {WEIGHTS[0]}")
    raise InputError(f"{folder} has no {' or '.join(WEIGHTS)}: give the folder of a model with weights")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give the folder of a model with its {CONFIG}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({printable(first_line(error))}): download it again") from None


def describe(content: Settings, preprocessor: Settings | None, name: str) -> Description:
    """Return a model's description.

    Args:
        content: of `config.json`.
        preprocessor: content of `preprocessor_config.json`, or None.
        name: of the folder or repository, for messages.

    Raises:
        InputError: the model has no counterpart in timm, or the transform cannot be expressed.
    """
    kind = content["model_type"]
    if kind not in MODEL_TYPES:
        raise InputError(f"{name} is a model of type {printable(str(kind))}: supported types are {', '.join(MODEL_TYPES)}")
    class_name = str((content.get("architectures") or [""])[0])
    try:
        arch, kwargs = MODEL_TYPES[kind](content, class_name)
    except _Unsupported as error:
        raise InputError(f"{name} ({class_name or kind}) is not supported: {error}") from None
    except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
        raise InputError(f"{CONFIG} of {name} is damaged ({type(error).__name__}: {printable(first_line(error))})") from None
    transform = None if preprocessor is None else _transform(preprocessor, name)
    if kind in ANY_SIZE and transform and isinstance(size := transform["crop"] or transform["resize"], list):
        kwargs = {**kwargs, "img_size": size}
    return Description(arch, kwargs, transform, has_classifier=bool(kwargs["num_classes"] and _classes(content, class_name)))


class _Unsupported(Exception):
    """A model without a counterpart in timm; the reason."""


def _common(content: Settings, **defaults: Any) -> Settings:
    """Return the arguments that all model types share."""
    known = {**DEFAULTS, **defaults, **{key: value for key, value in content.items() if value is not None}}
    if known["num_channels"] != 3:
        raise _Unsupported(f"its images have {known['num_channels']} channels, but images here have three (red, green, blue)")
    if known["hidden_act"] not in ACTIVATIONS:
        raise _Unsupported(f"its activation {known['hidden_act']!r} is not one of {', '.join(ACTIVATIONS)}")
    return {
        "img_size": known["image_size"],
        "patch_size": known["patch_size"],
        "embed_dim": known["hidden_size"],
        "depth": known["num_hidden_layers"],
        "num_heads": known["num_attention_heads"],
        "mlp_ratio": ratio(known["intermediate_size"], known["hidden_size"]),
        "qkv_bias": known["qkv_bias"],
        "act_layer": ACTIVATIONS[known["hidden_act"]],
        "norm_eps": known["layer_norm_eps"],
    }


def ratio(wanted: int, width: int) -> float:
    """Return the ratio for which timm's `int(width * ratio)` is a wanted width."""
    exact = wanted / width
    return exact if int(width * exact) == wanted else (wanted + 0.5) / width


def _classes(content: Settings, class_name: str) -> int:
    """Return the number of classes of a model's classifier, or 0 without a classifier."""
    if not class_name.endswith(("ForImageClassification", "ForImageClassificationWithTeacher")):
        return 0
    return len(content.get("id2label") or ()) or int(content.get("num_labels") or DEFAULT_CLASSES)


def _vit(content: Settings, class_name: str) -> tuple[str, Settings]:
    return "vit_base_patch16_224", {**_common(content), "num_classes": _classes(content, class_name)}


def _deit(content: Settings, class_name: str) -> tuple[str, Settings]:
    """Two classifiers make timm's distilled model. With one, the distillation token is only a further token: a register."""
    kwargs = {**_common(content), "num_classes": _classes(content, class_name)}
    if class_name.endswith("WithTeacher"):
        return "deit_base_distilled_patch16_224", kwargs
    return "vit_base_patch16_224", {**kwargs, "reg_tokens": 1}


def _beit(content: Settings, class_name: str) -> tuple[str, Settings]:
    if content.get("qkv_bias") is False:
        raise _Unsupported("its attention has no bias")
    mean = content.get("use_mean_pooling", True)
    kwargs = _common(content)
    if kwargs.pop("act_layer") != "gelu":
        raise _Unsupported(f"its activation is {content['hidden_act']!r}, and timm's BEiT has gelu")
    del kwargs["qkv_bias"]
    return "beit_base_patch16_224", {
        **kwargs,
        "use_abs_pos_emb": content.get("use_absolute_position_embeddings", False),
        "use_rel_pos_bias": content.get("use_relative_position_bias", False),
        "use_shared_rel_pos_bias": content.get("use_shared_relative_position_bias", False),
        "init_values": content.get("layer_scale_init_value", 0.1) or None,
        "global_pool": "avg" if mean else "token",
        "num_classes": _classes(content, class_name),
    }


def _dinov2(content: Settings, class_name: str) -> tuple[str, Settings]:
    """The classifier of DINOv2 reads [CLS] and the mean of the image tokens together, so the model is taken without it."""
    width = content.get("hidden_size", DEFAULTS["hidden_size"])
    hidden = int(width * content.get("mlp_ratio", 4))
    swiglu = content.get("use_swiglu_ffn", False)
    if swiglu:
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)  # timm keeps both halves in one matrix
    kwargs = _common({**content, "intermediate_size": hidden, **({"hidden_act": "silu"} if swiglu else {})}, layer_norm_eps=1e-6)
    arch = "vit_giant_patch14_dinov2" if swiglu else "vit_base_patch14_dinov2"
    if content["model_type"] == "dinov2_with_registers":
        kwargs |= {"reg_tokens": content.get("num_register_tokens", 4), "no_embed_class": True}
    return arch, {**kwargs, "num_classes": 0}


def _dinov3(content: Settings, class_name: str) -> tuple[str, Settings]:
    biases = [content.get(f"{name}_bias", default) for name, default in (("query", True), ("key", False), ("value", True))]
    if biases[0] != biases[2] or biases[1] or not all(content.get(f"{part}_bias", True) for part in ("proj", "mlp")):
        raise _Unsupported("only some of its matrices have a bias")
    if content.get("rope_theta", 100.0) != 100.0:
        raise _Unsupported(f"its rotary positions have the base {content['rope_theta']}, and timm's have 100")
    width = content.get("hidden_size", 384)
    defaults = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": 6, "layer_norm_eps": 1e-5}
    kwargs = _common(content, **defaults)
    gated = content.get("use_gated_mlp", False)
    if kwargs.pop("act_layer") != ("silu" if gated else "gelu"):
        raise _Unsupported(f"its activation is {content.get('hidden_act', 'gelu')!r}")
    kwargs |= {"num_reg_tokens": content.get("num_register_tokens", 0), "global_pool": "token", "qkv_bias": biases[0], "num_classes": 0}
    return ("vit_huge_plus_patch16_dinov3" if gated else "vit_base_patch16_dinov3"), kwargs


def _mae(content: Settings, class_name: str) -> tuple[str, Settings]:
    return "vit_base_patch16_224", {**_common(content), "num_classes": 0}


def _vision(content: Settings) -> Settings:
    """Return the part of a CLIP or SigLIP config that describes the image model."""
    return content.get("vision_config") or content


def _clip(content: Settings, class_name: str) -> tuple[str, Settings]:
    """The head is the projection to the space of text embeddings, for models that have it."""
    if class_name.endswith("ForImageClassification"):
        raise _Unsupported("its classifier reads the mean of the image tokens before the last norm")
    vision = _vision(content)
    projects = class_name in ("CLIPModel", "CLIPVisionModelWithProjection")
    width = (content.get("projection_dim") or vision.get("projection_dim") or 512) if projects else 0
    kwargs = _common(vision, patch_size=32, hidden_act="quick_gelu", layer_norm_eps=1e-5)
    return "vit_base_patch32_clip_224", {**kwargs, "num_classes": width}


def _siglip(content: Settings, class_name: str) -> tuple[str, Settings]:
    """SigLIP's classifier reads the mean of the image tokens. Elsewhere the mean takes the place of attention pooling, without a head."""
    kwargs = _common(_vision(content), hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6)
    return "vit_base_patch16_siglip_gap_224", {**kwargs, "num_classes": _classes(content, class_name)}


MODEL_TYPES: dict[str, Callable[[Settings, str], tuple[str, Settings]]] = {
    "vit": _vit,
    "deit": _deit,
    "beit": _beit,
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2,
    "dinov3_vit": _dinov3,
    "vit_mae": _mae,
    "clip": _clip,
    "clip_vision_model": _clip,
    "siglip": _siglip,
    "siglip_vision_model": _siglip,
}
"""For each `model_type` a function that returns the timm architecture and its arguments."""
ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Types whose own classes take images of any size, so that the image processor determines the size, not the size of pretraining."""


# Image transforms


def _transform(preprocessor: Settings, name: str) -> Settings:
    """Return the transform of an image processor, as in a config.

    Raises:
        InputError: the transform cannot be expressed.
    """
    try:
        return _steps(preprocessor)
    except _Unsupported as error:
        raise InputError(f"{PREPROCESSOR} of {name}: {error}: give the model a `transform` in the config") from None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        problem = f"{type(error).__name__}: {printable(first_line(error))}"
        raise InputError(f"{PREPROCESSOR} of {name} is damaged ({problem}): give the model a `transform` in the config") from None


def _steps(preprocessor: Settings) -> Settings:
    processor = str(preprocessor.get("image_processor_type") or preprocessor.get("feature_extractor_type") or "")
    if not preprocessor.get("do_resize", True):
        raise _Unsupported("it does not resize images")
    if abs(preprocessor.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3 or not preprocessor.get("do_rescale", True):
        raise _Unsupported("it scales pixels to another range than 0 to 1")
    if preprocessor.get("do_pad") or preprocessor.get("crop_pct"):
        raise _Unsupported("it pads images or crops a share of them")
    number = preprocessor.get("resample", 2)
    if not isinstance(number, int) or not 0 <= number < len(RESAMPLING):
        raise _Unsupported(f"its resampling {number!r} is not known")
    normalize = preprocessor.get("do_normalize", True)
    crop = preprocessor.get("crop_size") if preprocessor.get("do_center_crop", "CLIP" in processor or "Bit" in processor) else None
    return {
        "resize": _resize(preprocessor["size"], processor),
        "crop": _height_width(crop) if crop else None,
        "interpolation": RESAMPLING[number],
        "mean": list(preprocessor["image_mean"]) if normalize else [0.0] * 3,
        "std": list(preprocessor["image_std"]) if normalize else [1.0] * 3,
    }


def _resize(size: Any, processor: str) -> Any:
    """Return a resize: [height, width], or the shortest side. A bare number is the shortest side for CLIP and BiT, or else a square."""
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"])
    if isinstance(size, int) and ("CLIP" in processor or "Bit" in processor):
        return size
    return _height_width(size)


def _height_width(size: Any) -> list[int]:
    if isinstance(size, int):
        return [size, size]
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        return [int(size["height"]), int(size["width"])]
    if isinstance(size, list) and len(size) == 2:
        return [int(side) for side in size]
    raise _Unsupported(f"its size {size!r} is neither a height and width nor a shortest edge")
