"""Recognition of a checkpoint's architecture: from the settings beside its parameters, or from the shapes of its parameters.

The shapes settle width, depth, patch size and position embedding. They do not settle everything (activation, number of heads), so that
several of timm's networks may fit. `fitting` returns all of them, and the caller must not choose between different ones.
"""

import functools
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import timm
import torch
from timm.models import model_entrypoint
from torch import Tensor

from classlens.errors import InputError
from classlens.models import arguments, checkpoints, loading, pretrained, transformers_weights
from classlens.models.checkpoints import Checkpoint
from classlens.models.labels import settings_in

ARCH_KEYS = ("architecture", "arch", "model_name", "model", "backbone")
"""Keys under which training programs name the architecture."""
SOURCES = ("vision_transformer", "vision_transformer_relpos", "deit", "beit", "eva")
"""Modules of timm with architectures that classlens may accept."""
BLOCK = re.compile(r"(?:^|\.)(?:blocks|layers?|resblocks)\.(?:encoder_layer_)?(\d+)\.")
PATCHES = "patch_embed.proj.weight"
DEFAULTS = {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12}
"""timm's defaults of arguments that an architecture may leave out."""
SET_HERE = ("img_size", "num_classes", "dynamic_img_size", "dynamic_img_pad", "ref_feat_shape")
"""Arguments that only say for which images and classes a network is built."""
MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True)
class Shape:
    """What the parameters of a Vision Transformer show about it.

    Attributes:
        width: width of the residual stream.
        depth: number of blocks.
        patch: side of a patch in pixels.
        size: side of the image in pixels, by the position embedding; None without one.
        classes: rows of the head; 0 without a head.
        key_prefix: prefix of the parameter names, except those that classlens removes by itself.
    """

    width: int
    depth: int
    patch: int
    size: int | None
    classes: int
    key_prefix: str


@dataclass(frozen=True)
class Network:
    """An architecture that fits a checkpoint.

    Attributes:
        names: names of the same network in timm, the best first; they differ in the image size and transform of their own weights.
        kwargs: arguments that fit the checkpoint.
    """

    names: list[str]
    kwargs: dict[str, Any] = field(default_factory=dict)


def shape_of(checkpoint: Checkpoint) -> Shape:
    """Return what a checkpoint's parameters show.

    Raises:
        InputError: they are not those of a Vision Transformer.
    """
    weights = checkpoint.weights
    patches = next((value for value in weights.values() if value.dim() == 4 and value.shape[1] == 3), None)
    blocks = {int(match[1]) for key in weights if not key.startswith("decoder") and (match := BLOCK.search(key))}
    if patches is None or not blocks:
        raise InputError(f"checkpoint {checkpoint.path} is not a Vision Transformer: it has no patch embedding or no blocks")
    width, _, patch, _ = patches.shape
    heads = [len(value) for key, value in weights.items() if pretrained.HEAD.search(key) and value.dim() == 2]
    return Shape(width, max(blocks) + 1, patch, _image_size(weights, width, patch), heads[0] if heads else 0, _prefix(checkpoint))


def _image_size(weights: dict[str, Tensor], width: int, patch: int) -> int | None:
    """Return the side of a square image whose patches, with the fewest prefix tokens, have the position embedding's tokens."""
    positions = (value for key, value in weights.items() if "pos" in key and value.dim() in (2, 3) and value.shape[-1] == width)
    tokens = next((value.shape[-2] for value in positions if value.shape[-2] > 1), None)
    if tokens is None:
        return None
    sides = (math.isqrt(tokens - prefix) for prefix in range(MOST_PREFIX_TOKENS) if math.isqrt(tokens - prefix) ** 2 == tokens - prefix)
    side = next(sides, None)
    return side * patch if side else None


def _prefix(checkpoint: Checkpoint) -> str:
    """Return the prefix of timm's parameter names that remains after the prefixes of training wrappers are removed."""
    bare = checkpoints.unwrapped(checkpoint.weights, str(checkpoint.path))
    if any(key.startswith(PATCHES) for key in bare):
        return ""
    return next((key.removesuffix(PATCHES) for key in checkpoint.weights if key.endswith(f".{PATCHES}")), "")


def named(facts: Any) -> str | None:
    """Return the timm architecture that settings name, with the tag of its weights if there is one; None if they name none."""
    for settings in settings_in(facts):
        for name in (settings.get(key) for key in ARCH_KEYS):
            if isinstance(name, str) and name and timm.is_model(name.split(".")[0]):
                return name
    return None


def arguments_in(facts: Any) -> dict[str, Any]:
    """Return the architecture's arguments in settings, without the number of classes and arguments that a config must not set."""
    given = (settings.get(key) for settings in settings_in(facts) for key in ("model_kwargs", "model_args"))
    found = next((one for one in given if isinstance(one, dict) and one), {})
    return {key: value for key, value in found.items() if key not in arguments.REFUSED and key != "num_classes"}


def fitting(checkpoint: Checkpoint, name: str | None = None, kwargs: dict[str, Any] | None = None) -> list[Network]:
    """Return the networks of timm into which a checkpoint's parameters load completely.

    Args:
        checkpoint: the weights.
        name: the only architecture to try, with the width and depth of the checkpoint; None for all.
        kwargs: further arguments of this architecture.

    Raises:
        InputError: the parameters are not those of a Vision Transformer.
    """
    shape = shape_of(checkpoint)
    found = [Network([name], {**(kwargs or {}), **_kwargs(shape, name)})] if name else list(_candidates(shape))
    weights = _in_timms_names(checkpoint, shape)
    exact = [network for network in found if _has_shapes(network, weights, shape)]
    return exact or [network for network in found if _loads(network, checkpoint, shape)]


def _in_timms_names(checkpoint: Checkpoint, shape: Shape) -> dict[str, Tensor]:
    name = str(checkpoint.path)
    bare = checkpoints.unwrapped(checkpoints.without_prefix(checkpoint.weights, name, shape.key_prefix), name)
    return transformers_weights.of_torchvision(bare) if transformers_weights.format_of(bare) == "torchvision" else bare


def _candidates(shape: Shape) -> Iterator[Network]:
    """Yield the networks with a checkpoint's width, depth and patch size."""
    groups: dict[object, list[str]] = {}
    for name in timm.list_models():
        if model_entrypoint(name).__module__.rpartition(".")[2] not in SOURCES:
            continue
        own = {**DEFAULTS, **_arguments(name)}
        if (own["embed_dim"], own["depth"], own["patch_size"]) == (shape.width, shape.depth, shape.patch):
            groups.setdefault(_comparable({key: value for key, value in own.items() if key not in SET_HERE}), []).append(name)
    for names in groups.values():
        names.sort(key=lambda name: (_own_size(name) != shape.size, not name.startswith("vit_")))
        yield Network(names, _kwargs(shape, names[0]))


@functools.cache
def _arguments(name: str) -> dict[str, Any]:
    """Return the class and the arguments with which timm builds an architecture, without building it.

    timm does not list them, so its builder is replaced by one that only keeps them.
    """
    entry = model_entrypoint(name)
    with mock.patch.object(sys.modules[entry.__module__], "build_model_with_cfg") as builder:
        entry()
    cls, *_ = builder.call_args.args
    ours = {key: value for key, value in builder.call_args.kwargs.items() if not key.startswith(("pretrained", "feature"))}
    return {**ours, "class": cls}


def _comparable(value: Any) -> object:
    """Return arguments in a form that can be compared; two equal partial functions are different objects."""
    if isinstance(value, functools.partial):
        return value.func, value.args, _comparable(value.keywords)
    if isinstance(value, dict):
        return tuple(sorted((key, _comparable(inner)) for key, inner in value.items()))
    return value if isinstance(value, str | type) or callable(value) else repr(value)


def _kwargs(shape: Shape, name: str) -> dict[str, Any]:
    """Return the arguments in which a checkpoint differs from an architecture."""
    own = {**DEFAULTS, **_arguments(name.split(".")[0])}
    wanted = {"embed_dim": shape.width, "depth": shape.depth, "patch_size": shape.patch}
    differing = {key: value for key, value in wanted.items() if own[key] != value}
    size = {"img_size": shape.size} if shape.size and _own_size(name) != shape.size else {}
    return {**size, **differing}


def _own_size(name: str) -> int:
    found = timm.get_pretrained_cfg(name.split(".")[0])
    return found.input_size[-1] if found else _arguments(name.split(".")[0]).get("img_size", 224)


def _has_shapes(network: Network, weights: dict[str, Tensor], shape: Shape) -> bool:
    """Return whether a network has parameters of exactly these names and shapes. Nothing is computed."""
    try:
        with torch.device("meta"):
            model = loading.build(network.names[0], {**network.kwargs, "num_classes": shape.classes}, None)
    except InputError:
        return False
    return {key: value.shape for key, value in model.state_dict().items()} == {key: value.shape for key, value in weights.items()}


def _loads(network: Network, checkpoint: Checkpoint, shape: Shape) -> bool:
    """Return whether a network loads a checkpoint, which timm may have to convert."""
    weights = pretrained.loading(checkpoint, [], {}, shape.key_prefix)
    try:
        loading.build(network.names[0], {**network.kwargs, "num_classes": shape.classes}, None, None, weights)
    except InputError:
        return False
    return True
