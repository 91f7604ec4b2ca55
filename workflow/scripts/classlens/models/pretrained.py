"""Loading of pretrained weights into a timm model: timm converts the parameter names, and no parameter is replaced silently.

timm's own loader reinitialises parameters that do not fit: the head for another number of classes, the first layer for other channels, and
parameters that timm's authors allow to be missing. This module loads each parameter unchanged, logs each parameter that timm resizes to
another patch grid, and refuses everything else.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import timm.models._builder
import torch
from timm.models._input import get_pretrained_grid_size
from torch import Tensor

from classlens.errors import InputError, first_line
from classlens.models import checkpoints, flax_weights, official_weights, transformers_weights
from classlens.models.checkpoints import Checkpoint
from classlens.progress import log
from classlens.trace import ViT

HEAD = re.compile(r"(^|\.)(head|heads\.head|classifier|cls_classifier|visual_projection)\.weight$|(^|\.)visual\.(proj|head\.proj\.weight)$")
"""Names of the matrix of a head in the formats that are read."""
CLIP_NAMES = {"pos_embed": "visual.positional_embedding", "patch_embed.proj.weight": "visual.conv1.weight"}
"""Names in OpenAI's CLIP of the parameters that timm resizes."""
Filter = Callable[..., dict[str, Tensor]]


@contextmanager
def loading(checkpoint: Checkpoint, ignore_keys: list[str], trained_with: dict[str, Any], key_prefix: str = "") -> Iterator[None]:
    """Make `timm.create_model(..., pretrained=True)` load a checkpoint completely, or raise an InputError.

    Args:
        checkpoint: the weights, under the names of timm, of its authors' code, of transformers or of torchvision.
        ignore_keys: name patterns of checkpoint parameters that the model does not need.
        trained_with: arguments of the trained model, from its repository; timm reads the grid of the trained position embedding from them.
        key_prefix: prefix to remove from the parameter names.
    """
    called = False
    timms_loader = timm.models._builder.load_pretrained

    def load(model: ViT, pretrained_cfg: dict[str, Any], filter_fn: Filter | None = None, **_: Any) -> None:
        nonlocal called
        called = True
        model.pretrained_model_args = trained_with
        weights = _converted(model, _named(model, checkpoint, key_prefix), filter_fn)
        weights = official_weights.without_pretraining(weights, model.state_dict())
        _cut_background(model, weights, pretrained_cfg)
        if not model.num_classes:
            _drop_head(weights, pretrained_cfg)
        checkpoints.load(model, weights, str(checkpoint.path), ignore_keys=ignore_keys)

    timm.models._builder.load_pretrained = load  # type: ignore[assignment]
    try:
        yield
    finally:
        timm.models._builder.load_pretrained = timms_loader
    if not called:
        raise InputError(
            f"checkpoint {checkpoint.path} is not used, because timm knows no pretrained weights for this architecture: give the full "
            "timm name of the weights as `arch`, or a checkpoint as `weights`"
        )


def _named(model: ViT, checkpoint: Checkpoint, key_prefix: str) -> Checkpoint:
    """Return the checkpoint without wrappers' prefixes, and with timm's names for parameters that timm itself does not convert."""
    name = str(checkpoint.path)
    checkpoints.check_plain(checkpoint.weights, name)
    weights = checkpoints.unwrapped(checkpoints.without_prefix(checkpoint.weights, name, key_prefix), name)
    if flax_weights.is_flax(weights):
        return replace(checkpoint, weights=flax_weights.converted(weights))
    renamed = official_weights.renamed(transformers_weights.converted(weights, model), model.state_dict())
    return replace(checkpoint, weights=renamed, library=transformers_weights.format_of(weights))


def _converted(model: ViT, checkpoint: Checkpoint, filter_fn: Filter | None) -> dict[str, Tensor]:
    """Return the weights with the model's parameter names and patch grid, as timm converts them, or transformers its own positions."""
    weights = dict(checkpoint.weights)
    if checkpoint.library == "transformers":
        weights = transformers_weights.with_resized_positions(weights, model)
    if filter_fn is None:
        return weights
    try:
        weights = filter_fn(weights, model)
    except Exception as error:  # the filter may fail in any way on weights that it was not written for
        raise InputError(
            f"checkpoint {checkpoint.path} does not fit the model: timm cannot convert its parameters ({type(error).__name__}: "
            f"{first_line(error)}): correct the model's `kwargs` or `arch`"
        ) from None
    _note_changes(checkpoint, weights)
    _warn_of_unknown_grid(model, checkpoint.weights, weights)
    return weights


def _note_changes(checkpoint: Checkpoint, after: dict[str, Tensor]) -> None:
    """Log which parameters have been resized, and which timm leaves out or splits. Resized ones are noted for model.json too."""
    before = checkpoint.weights
    for key, value in sorted(after.items()):
        name = _origin(key, before)
        if name and (before[name].numel() != value.numel() or (name == key and not torch.equal(before[name], value))):
            log.info("converted %s from shape %s to the model's %s", key, list(before[name].shape), list(value.shape))
            checkpoint.notes.append(f"{key} converted from {list(before[name].shape)} to {list(value.shape)}")
    kept = {id(value) for value in after.values()}
    left = sorted(key for key, value in before.items() if id(value) not in kept and key not in after)
    if left:
        log.info("timm renames, converts or leaves out %d parameters: %s", len(left), ", ".join(left))


def _origin(name: str, before: dict[str, Tensor]) -> str | None:
    """Return the name in a checkpoint of a parameter of the model: its own, or its name in an image tower of CLIP; None if unknown."""
    names = (name, CLIP_NAMES.get(name, name), f"visual.{name}", f"visual.trunk.{name}")
    return next((known for known in names if known in before), None)


def _warn_of_unknown_grid(model: ViT, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Warn if timm resized a position embedding and had to assume that its trained grid was square."""
    if "pos_embed" not in before or "pos_embed" not in after or before["pos_embed"].shape == after["pos_embed"].shape:
        return
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    if get_pretrained_grid_size(model, before.get("patch_embed.proj.weight"), before["pos_embed"].shape[1] - prefix) is None:
        log.warning("the repository does not say for which image size pos_embed was trained: a square grid is assumed")


def has_head(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint has a classifier, or a projection in its place."""
    return any(HEAD.search(key) for key in checkpoint.weights)


def _classifiers(pretrained_cfg: dict[str, Any]) -> list[str]:
    """Return the parameter names of the heads."""
    names = pretrained_cfg.get("classifier") or ()
    return [f"{name}.{part}" for name in ([names] if isinstance(names, str) else names) for part in ("weight", "bias")]


def _cut_background(model: ViT, weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Remove the rows before the first real class, such as `background`, from the heads, as timm does."""
    offset = pretrained_cfg.get("label_offset") or 0
    for key in _classifiers(pretrained_cfg) if offset else ():
        if key in weights and len(weights[key]) == model.num_classes + offset:
            weights[key] = weights[key][offset:]
            log.info("removed the first %d rows of %s, which are not classes of the model (`label_offset`)", offset, key)


def _drop_head(weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Remove the heads' parameters for a model without a head (`num_classes: 0`)."""
    usual = [f"{name}.{part}" for name in ("head", "head_dist", *official_weights.HEADS) for part in ("weight", "bias")]
    dropped = [key for key in (*_classifiers(pretrained_cfg), *usual) if weights.pop(key, None) is not None]
    if dropped:
        log.info("left out, because the model has no head (`num_classes: 0`): %s", ", ".join(dropped))
