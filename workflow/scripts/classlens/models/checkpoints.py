"""Reading of published checkpoints, without executing anything in them, and loading of their parameters into a model.

Parameters lie by name at the top level of a checkpoint or under one of the keys in `NESTS`. If the config says so, their names may have a
prefix (`model.`), and there may be parameters that the model does not need (`transformerheads.*`). If a checkpoint also holds an average of
the weights over training, the average is used, as in timm.
"""

import argparse
import fnmatch
import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from classlens.errors import InputError, first_line, printable
from classlens.progress import log
from classlens.trace import ViT

NESTS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")
"""Keys under which training programs store the parameters, in timm's order of preference (`timm.models.load_state_dict`)."""
AUTHORS_NESTS = ("teacher", "target_encoder", "module")
"""Further keys of authors' checkpoints: the average of the weights over training in DINO, iBOT, DINOv2 and I-JEPA, and BEiT's."""
WRAPPERS = ("module.", "_orig_mod.", "ema_model.", "model.", "net.", "network.", "backbone.", "base_encoder.")
"""Prefixes of `DistributedDataParallel`, `torch.compile`, Lightning, MoCo and common training code. No parameter of timm begins like them.
"""
AVERAGED = "n_averaged"
"""Name of the counter that `torch.optim.swa_utils.AveragedModel` keeps beside the parameters."""
HEAD = {"head.weight", "head.bias"}
MAX_DEPTH = 3
"""Maximum depth of nested keys."""

# Patterns of parameter names in other libraries, for models that timm has too.
FOREIGN_NAMES = {
    r"(^|\.)transformer\.resblocks\.\d+\.": "OpenAI's CLIP or OpenCLIP",
    r"(^|\.)(encoder\.)?layers?\.\d+\.(attention|self_attn|layernorm_before|layer_norm1|norm1|mlp)\.": "Hugging Face transformers",
}


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
        path: its file.
        weights: parameters by name.
        nest: key of the parameters in the file, such as `state_dict_ema`; empty for the top level.
        facts: everything else in the file except tensors, by key.
        notes: what was changed in the weights to fit the model, for model.json.
        library: `transformers` or `torchvision` if the parameters have their names; None for any other names.
    """

    path: Path
    weights: dict[str, Tensor]
    nest: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    library: str | None = None


def read(path: Path) -> Checkpoint:
    """Read parameters from a .safetensors, .npz, .pt or .pth file without executing anything in it.

    Raises:
        InputError: the file is damaged, holds Python objects, or has no parameters.
    """
    if path.suffix.lower() == ".safetensors":
        weights, nest, facts = _safetensors(path)
    elif path.suffix.lower() == ".npz":
        weights, nest, facts = _arrays(path), "", {}
    else:
        weights, nest, facts = _pickled(path)
    if not weights:
        raise InputError(f"checkpoint {path} has no parameters: expected tensors by name, at the top level or under {', '.join(NESTS)}")
    return Checkpoint(path, weights, nest, facts)


def _safetensors(path: Path) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Return tensors by name, an empty nest, and the file's metadata, with JSON values parsed."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, "", {key: _parsed(text) for key, text in (file.metadata() or {}).items()}
    except Exception as error:  # safetensors raises many types of errors for a damaged header
        raise InputError(f"checkpoint {path} cannot be read ({_said(error)}): download it again") from None


def _parsed(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def _arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a NumPy archive by name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind in "fiu"}
    except Exception as error:  # NumPy and zipfile raise many types of errors for a damaged archive
        raise InputError(f"checkpoint {path} cannot be read ({_said(error)}): download it again") from None


def _pickled(path: Path) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Return tensors by name, their nest, and everything else in a file that torch has written."""
    content = _unpickled(path)
    nests: list[str] = []
    facts: dict[str, Any] = {}
    while nest := _nest(content) if len(nests) < MAX_DEPTH else None:
        facts |= _facts(content)
        _log_choice(path, content, nest)
        content = content[nest]
        nests.append(nest)
    return _tensors(content), ".".join(nests), facts | _facts(content)


def _unpickled(path: Path) -> Any:
    """Return what torch can read without executing anything. `argparse.Namespace`, in which timm stores settings, holds only data."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types of errors for a damaged archive
        damaged = f"it is damaged or not a checkpoint: {_said(error)}"
        reason = f"it holds Python objects beside tensors{_programs(path)}" if "weights_only" in str(error).lower() else damaged
        raise InputError(
            f"checkpoint {path} cannot be read ({reason}): save its state_dict as .safetensors, or download it again"
        ) from None


def _said(error: Exception) -> str:
    return printable(first_line(error))


def _programs(path: Path) -> str:
    """Return a text that names an object in a checkpoint that cannot be read without executing code."""
    with suppress(Exception):  # the file is damaged, or torch cannot list the objects of its format
        if found := torch.serialization.get_unsafe_globals_in_checkpoint(str(path)):
            return f", such as {printable(sorted(found)[0])}"
    return ""


def _nest(content: Any) -> str | None:
    """Return the key under which the parameters lie, or None if they lie at the top level."""
    if not isinstance(content, dict):
        return None
    return next((nest for nest in (*NESTS, *AUTHORS_NESTS) if isinstance(content.get(nest), dict) and content[nest]), None)


def _log_choice(path: Path, content: dict[Any, Any], chosen: str) -> None:
    """Log which set of parameters is used if the checkpoint holds several."""
    others = [str(key) for key, value in content.items() if key != chosen and _tensors(value)]
    if others:
        among = ", ".join(f"`{printable(name)}`" for name in others[:3])
        known = {*NESTS, *AUTHORS_NESTS, "student", "encoder", "predictor"}
        level = log.info if set(others) <= known else log.warning  # a set of parameters under another name may be the right one
        how = ", as timm does" if chosen in NESTS else ""
        level("%s: using the parameters under `%s`%s; the file also holds %s", path, chosen, how, among)


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _facts(content: Any) -> dict[str, Any]:
    known = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in known if isinstance(key, str) and key not in NESTS and not isinstance(value, Tensor)}


def unwrapped(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return parameters without the prefixes that training wrappers add to all names or to those of the model.

    Args:
        weights: parameters by name.
        name: of the checkpoint, for messages.

    Raises:
        InputError: two names are the same without the prefix.
    """
    weights = {key: value for key, value in weights.items() if key != AVERAGED}
    while prefix := next((one for one in WRAPPERS if any(key.startswith(one) for key in weights)), None):
        weights = without_prefix(weights, name, prefix)
        log.info("%s: removed the prefix `%s` from parameter names", name, prefix)
    return weights


def load(model: ViT, weights: dict[str, Tensor], name: str, ignore_keys: list[str] | None = None) -> None:
    """Load parameters into a model; every parameter must be present, have the right shape and be finite.

    Args:
        model: the model, changed in place.
        weights: parameters by name.
        name: name of the checkpoint in errors.
        ignore_keys: name patterns of checkpoint parameters that the model does not need.

    Raises:
        InputError: parameters are missing, left over, duplicated or of another shape; values are not finite numbers; or the head has
            another number of classes.
    """
    own = model.state_dict()
    extra = sorted(key for key in weights.keys() - own.keys() if not any(fnmatch.fnmatch(key, pattern) for pattern in ignore_keys or []))
    missing = sorted(own.keys() - weights.keys())
    shapes = {key: (list(weights[key].shape), list(own[key].shape)) for key in sorted(own.keys() & weights.keys())}
    misshapen = [f"{key} is {have}, not {want}" for key, (have, want) in shapes.items() if have != want]
    if "head.weight" in shapes and shapes["head.weight"][0][:1] != shapes["head.weight"][1][:1] and not missing and not extra:
        raise _other_classes(name, *shapes["head.weight"])
    if missing and set(missing) <= HEAD and not extra:
        raise InputError(
            f"checkpoint {name} has no head: give the model a `class_embedding`, such as `{{fit: linear}}`, which fits a head to images"
        )
    complaints = [_count("missing", missing), _count("left over", extra), _count("of another shape", misshapen)]
    if any(complaints):
        problem = f"checkpoint {name} does not fit the model: {'; '.join(filter(None, complaints))}"
        raise InputError(f"{problem}: {_advice(missing, extra, weights)}")
    model.load_state_dict({key: _usable(name, key, weights[key], own[key]) for key in own})


def without_prefix(weights: dict[str, Tensor], name: str, prefix: str) -> dict[str, Tensor]:
    """Return parameters with a prefix removed from the names that have it.

    Raises:
        InputError: two names are the same without the prefix.
    """
    count = Counter(key.removeprefix(prefix) for key in weights)
    if twice := next((key for key, times in count.items() if times > 1), None):
        raise InputError(
            f"checkpoint {name} has both {printable(twice)} and {printable(prefix + twice)}, which are the same name without `key_prefix`: "
            "save only the right ones"
        )
    return {key.removeprefix(prefix): value for key, value in weights.items()}


def _other_classes(name: str, have: list[int], want: list[int]) -> InputError:
    return InputError(
        f"checkpoint {name} has {have[0] if have else 'no'} classes, but `kwargs` or else the data set has {want[0]}: use the data set "
        "that it was trained on, set the data set's `classes` to a file that lists all of its classes, one folder name per line, or fit a "
        "new head (`class_embedding: {fit: linear}`)"
    )


def check_plain(weights: dict[str, Tensor], name: str) -> None:
    """Raise an InputError for a parameter that is not stored as plain numbers, with which nothing can be computed."""
    for key, value in weights.items():
        kind = "without values" if value.is_meta else "sparse" if value.layout != torch.strided else None
        if kind or value.is_quantized or value.is_complex() or (value.is_floating_point() and value.element_size() < 2):
            raise _not_plain(name, key, kind or f"{'quantised ' if value.is_quantized else ''}{value.dtype}", torch.float32)


def _not_plain(name: str, key: str, kind: str, wanted: torch.dtype) -> InputError:
    kinds = f"{printable(key)} is {kind}, not {wanted}".replace("torch.", "")
    return InputError(f"checkpoint {name}: {kinds}: save the weights as plain floats")


def _usable(name: str, key: str, value: Tensor, own: Tensor) -> Tensor:
    """Return a parameter's values in the model's dtype; they must be finite numbers of the same kind."""
    check_plain({key: value}, name)
    if value.is_floating_point() != own.is_floating_point():
        raise _not_plain(name, key, str(value.dtype), own.dtype)
    value = value.detach().to(own.dtype)
    if not value.isfinite().all():
        raise InputError(f"checkpoint {name}: {key} is not finite: it is damaged, or its training failed")
    return value


def _advice(missing: list[str], extra: list[str], weights: dict[str, Tensor]) -> str:
    """Return advice on parameter names that do not fit."""
    if library := _library(weights) if missing else None:
        return (
            f"these are the names of {library}: give timm's version of the model, by its full name in timm with `weights: pretrained`, or "
            "rename its parameters as timm does (`blocks.0.attn.qkv.weight`)"
        )
    if {"norm.weight", "fc_norm.weight"} <= {*missing, *extra}:
        pool, output = ("avg", "the mean of the image tokens") if "fc_norm.weight" in extra else ("token", "[CLS]")
        return f"its head reads {output}: set `kwargs: {{global_pool: {pool}}}`"
    prefix = _common_prefix(missing, extra)
    if not prefix:
        return "set the model's `key_prefix`, `ignore_keys`, `kwargs` or `arch` to fit"
    left = sorted(set(extra) - {prefix + key for key in missing})
    return f"set the model's `key_prefix: {prefix}`" + (" and `ignore_keys` to other names that the model does not need" if left else "")


def _library(weights: dict[str, Tensor]) -> str | None:
    return next((library for pattern, library in FOREIGN_NAMES.items() if any(re.search(pattern, key) for key in weights)), None)


def _common_prefix(missing: list[str], extra: list[str]) -> str | None:
    """Return the prefix (`model.`) whose removal from left-over names gives all missing names, or None."""
    prefixes = {key.removesuffix(missing[0]) for key in extra if missing and key.endswith(f".{missing[0]}")}
    return next((prefix for prefix in sorted(prefixes) if {prefix + key for key in missing} <= set(extra)), None)


def _count(what: str, keys: list[str]) -> str:
    shown = ", ".join(map(printable, keys[:3])) + (", ..." if len(keys) > 3 else "")
    return f"{len(keys)} {what} ({shown})" if keys else ""
