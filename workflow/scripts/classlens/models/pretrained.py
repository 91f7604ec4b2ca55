"""Loading pretrained weights into a timm model: timm converts their names, and every parameter is accounted for.

timm's own loader draws anew what does not fit: the head for another number of classes, the first layer for other channels, or whatever its
authors allow to be missing. Here each parameter is loaded, or fitted by timm to another grid of patches, which is said, or refused.
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
    """Have `timm.create_model(..., pretrained=True)` load a checkpoint completely, or raise an InputError.

    Args:
        checkpoint: the pretrained weights, under the names that they are published with.
        ignore_keys: patterns of names that the model need not have.
        trained_with: arguments of the model that the weights are of, as its repository says: timm finds the grid of its positions there.
    """
    asked = False
    own = timm.models._builder.load_pretrained

    def load(model: ViT, pretrained_cfg: dict[str, Any], filter_fn: Filter | None = None, **_: Any) -> None:
        nonlocal asked
        asked = True
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
        timm.models._builder.load_pretrained = own
    if not asked:
        raise InputError(
            f"checkpoint {checkpoint.path} is not used: timm knows no pretrained weights of this architecture: give the full "
            "timm name of the weights as `arch`, or a checkpoint as `weights`"
        )


def _converted(model: ViT, checkpoint: Checkpoint, filter_fn: Filter | None) -> dict[str, Tensor]:
    """The weights under the model's names and with its grid of patches, as timm makes them."""
    if filter_fn is None:
        return dict(checkpoint.weights)
    try:
        weights = filter_fn(dict(checkpoint.weights), model)
    except Exception as error:  # the filter may fail in any way on weights that it was not written for
        raise InputError(
            f"checkpoint {checkpoint.path} does not fit the model: timm cannot convert its parameters ({type(error).__name__}: "
            f"{first_line(error)}): correct the model's `kwargs` or `arch`"
        ) from None
    _tell_changes(checkpoint.weights, weights)
    _warn_of_unknown_grid(model, checkpoint.weights, weights)
    return weights


def _tell_changes(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Log what timm has fitted, and what it leaves out or splits."""
    for key in sorted(before.keys() & after.keys()):
        if before[key].shape != after[key].shape or not torch.equal(before[key], after[key]):
            log.info("timm fits %s of shape %s to the model's %s", key, list(before[key].shape), list(after[key].shape))
    kept = {id(value) for value in after.values()}
    left = sorted(key for key, value in before.items() if id(value) not in kept and key not in after)
    if left:
        log.info("timm converts or leaves out %d parameters: %s", len(left), ", ".join(left))


def _warn_of_unknown_grid(model: ViT, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Warn where timm had to guess that the positions which it has fitted to another grid were those of a square one."""
    if "pos_embed" not in before or "pos_embed" not in after or before["pos_embed"].shape == after["pos_embed"].shape:
        return
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    if get_pretrained_grid_size(model, before.get("patch_embed.proj.weight"), before["pos_embed"].shape[1] - prefix) is None:
        log.warning("the repository does not say for which image size pos_embed was trained: its grid is taken to be square")


def _classifiers(pretrained_cfg: dict[str, Any]) -> list[str]:
    """Names of the parameters of the heads."""
    names = pretrained_cfg.get("classifier") or ()
    return [f"{name}.{part}" for name in ([names] if isinstance(names, str) else names) for part in ("weight", "bias")]


def _cut_background(weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Take the classes before the first real one, such as `background`, out of the heads, as timm does."""
    offset = pretrained_cfg.get("label_offset") or 0
    for key in _classifiers(pretrained_cfg) if offset else ():
        if key in weights:
            weights[key] = weights[key][offset:]
            log.info("the first %d rows of %s are no classes of the model (`label_offset`)", offset, key)


def _drop_head(weights: dict[str, Tensor], pretrained_cfg: dict[str, Any]) -> None:
    """Leave the heads out for a model that was asked for without one (`num_classes: 0`)."""
    dropped = [key for key in _classifiers(pretrained_cfg) if weights.pop(key, None) is not None]
    if dropped:
        log.info("left out, because the model has no head (`num_classes: 0`): %s", ", ".join(dropped))
