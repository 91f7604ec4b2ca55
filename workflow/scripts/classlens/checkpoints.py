"""Reading checkpoints, as they are published, without executing anything in them, and fitting them to a model.

Three forms are known: parameters by name at the top; under `state_dict`, `model` or `model_state_dict`; each with a prefix (`model.`)
and with parameters beside the model's (`transformerheads.*`) where the config says so.
"""

import fnmatch
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from classlens.errors import InputError, first_line
from classlens.trace import ViT

# Names under which training programs put the parameters of a checkpoint.
NESTS = ("state_dict", "model", "model_state_dict")


def read(path: Path) -> dict[str, Tensor]:
    """Parameters by name from a .safetensors, .pt or .pth file; nothing in the file is executed.

    Raises:
        InputError: the file is damaged, holds more than tensors, or has no parameters.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"checkpoint {path} cannot be read ({first_line(error)}): download it again") from None
    except Exception as error:  # torch.load raises whatever the damaged archive makes its parts raise
        damaged = f"it is damaged, or no checkpoint: {first_line(error)}"
        reason = "it holds Python objects beside tensors" if "weights_only" in str(error).lower() else damaged
        raise InputError(
            f"checkpoint {path} cannot be read ({reason}): save its state_dict as .safetensors, or download it again"
        ) from None
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"checkpoint {path} has no parameters: expected tensors by name, at the top or under {', '.join(NESTS)}")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def load(model: ViT, weights: dict[str, Tensor], name: str, key_prefix: str = "", ignore_keys: list[str] | None = None) -> None:
    """Put parameters into a model, every one of which must be there and fit.

    Args:
        model: the model, changed in place.
        weights: parameters by name.
        name: what to call the checkpoint in errors.
        key_prefix: prefix to take off the names that have it.
        ignore_keys: patterns of names that the model need not have.

    Raises:
        InputError: names are missing, left over or of another shape; or the head has another number of classes.
    """
    weights = {key.removeprefix(key_prefix): value for key, value in weights.items()}
    own = model.state_dict()
    extra = sorted(key for key in weights.keys() - own.keys() if not any(fnmatch.fnmatch(key, pattern) for pattern in ignore_keys or []))
    missing = sorted(own.keys() - weights.keys())
    shapes = {key: (list(weights[key].shape), list(own[key].shape)) for key in sorted(own.keys() & weights.keys())}
    misshapen = [f"{key} is {have}, not {want}" for key, (have, want) in shapes.items() if have != want]
    if "head.weight" in shapes and shapes["head.weight"][0][0] != shapes["head.weight"][1][0] and not missing and not extra:
        have, want = shapes["head.weight"]
        raise InputError(
            f"checkpoint {name} tells {have[0]} classes apart and the data set has {want[0]}: use the data set that it was trained on, "
            "or list all of its classes, one folder name per line, in a file that the data set's `classes` names"
        )
    complaints = [_count("missing", missing), _count("left over", extra), _count("of another shape", misshapen)]
    if any(complaints):
        prefix = None if key_prefix else _common_prefix(missing, extra)
        keys = f"`key_prefix: {prefix}`" if prefix else "`key_prefix`, `ignore_keys`, `kwargs` or `arch` to fit"
        raise InputError(f"checkpoint {name} does not fit the model: {'; '.join(filter(None, complaints))}: set the model's {keys}")
    model.load_state_dict({key: weights[key] for key in own})


def _common_prefix(missing: list[str], extra: list[str]) -> str | None:
    """The module (`model.`) that has to be taken off names that are left over to get all that are missing; None where there is none."""
    prefixes = {key.removesuffix(missing[0]) for key in extra if missing and key.endswith(f".{missing[0]}")}
    return next((prefix for prefix in sorted(prefixes) if {prefix + key for key in missing} <= set(extra)), None)


def _count(what: str, keys: list[str]) -> str:
    shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
    return f"{len(keys)} {what} ({shown})" if keys else ""
