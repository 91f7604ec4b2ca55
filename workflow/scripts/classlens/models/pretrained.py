"""Loading of pretrained weights into a timm model: timm converts the parameter names, and no parameter is replaced silently.

timm's own loader reinitialises parameters that do not fit: the head for another number of classes, the first layer for other channels, and
parameters that timm's authors allow to be missing. This module loads each parameter unchanged, logs each parameter that timm resizes to
another patch grid, and refuses everything else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm.models._builder
import torch
from timm.models._input import get_pretrained_grid_size
from torch import Tensor

from classlens.errors import InputError, first_line
from classlens.models import checkpoints
from classlens.models.checkpoints import Checkpoint
from classlens.progress import log
from classlens.trace import ViT

Filter = Callable[..., dict[str, Tensor]]


@contextmanager
def loading(checkpoint: Checkpoint, ignore_keys: list[str], trained_with: dict[str, Any]) -> Iterator[None]:
    """Make `timm.create_model(..., pretrained=True)` load a checkpoint completely, or raise an InputError.

    Args:
        checkpoint: the pretrained weights under their published names.
        ignore_keys: name patterns of checkpoint parameters that the model does not need.
        trained_with: arguments of the trained model, from its repository; timm reads the grid of the trained position embedding from them.
    """
    called = False
    timms_loader = timm.models._builder.load_pretrained

    def load(model: ViT, pretrained_cfg: dict[str, Any], filter_fn: Filter | None = None, **_: Any) -> None:
        nonlocal called
        called = True
        model.pretrained_model_args = trained_with
        weights = _converted(model, checkpoint, filter_fn)
        _cut_background(weights, pretrained_cfg)
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


def _converted(model: ViT, checkpoint: Checkpoint, filter_fn: Filter | None) -> dict[str, Tensor]:
    """Return the weights with the model's parameter names and patch grid, as timm converts them."""
    if filter_fn is None:
        return dict(checkpoint.weights)
    try:
        weights = filter_fn(dict(checkpoint.weights), model)
    except Exception as error:  # the filter may fail in any way on weights that it was not written for
        raise InputError(
            f"checkpoint {checkpoint.path} does not fit the model: timm cannot convert its parameters ({type(error).__name__}: "
            f"{first_line(error)}): correct the model's `kwargs` or `arch`"
        ) from None
    _log_changes(checkpoint.weights, weights)
    _warn_of_unknown_grid(model, checkpoint.weights, weights)
    return weights


def _log_changes(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Log which parameters timm has resized, and which it leaves out or splits."""
    for key in sorted(before.keys() & after.keys()):
        if before[key].shape != after[key].shape or not torch.equal(before[key], after[key]):
            log.info("timm converts %s from shape %s to the model's %s", key, list(before[key].shape), list(after[key].shape))
    kept = {id(value) for value in after.values()}
    left = sorted(key for key, value in before.items() if id(value) not in kept and key not in after)
    if left:
        log.info("timm converts or leaves out %d parameters: %s", len(left), ", ".join(left))


def _warn_of_unknown_grid(model: ViT, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Warn if timm resized a position embedding and had to assume that its trained grid was square."""
    if "pos_embed" not in before or "pos_embed" not in after or before["pos_embed"].shape == after["pos_embed"].shape:
        return
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    if get_pretrained_grid_size(model, before.get("patch_embed.proj.weight"), before["pos_embed"].shape[1] - prefix) is None:
        log.warning("the repository does not say for which image size pos_embed was trained: a square grid is assumed")


def _classifiers(pretrained_cfg: dict[str, Any]) -> list[str]:
    """Return the parameter names of the heads."""
    names = pretrained_cfg.get("classifier") or ()
    return [f"{name}.{part}" for name in ([names] if isinstance(names, str) else names) for part in ("weight", "bias")]


def _cut_background(weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Remove the rows before the first real class, such as `background`, from the heads, as timm does."""
    offset = pretrained_cfg.get("label_offset") or 0
    for key in _classifiers(pretrained_cfg) if offset else ():
        if key in weights:
            weights[key] = weights[key][offset:]
            log.info("removed the first %d rows of %s, which are not classes of the model (`label_offset`)", offset, key)


def _drop_head(weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Remove the heads' parameters for a model without a head (`num_classes: 0`)."""
    dropped = [key for key in _classifiers(pretrained_cfg) if weights.pop(key, None) is not None]
    if dropped:
        log.info("left out, because the model has no head (`num_classes: 0`): %s", ", ".join(dropped))
