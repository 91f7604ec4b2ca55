"""Hooks that read, edit and stop a forward pass at named sites of a Vision Transformer.

An activation's name is `{site}.{block}`; blocks count from 0. Sites, with the shape [image, token, width] unless another is given:

    resid_pre    input of the block
    resid_post   output of the block
    attn_out     what attention adds to the residual stream
    mlp_out      what the MLP adds to the residual stream
    attn_in      input of attention
    attn_weights attention weights of each query token for each key token, [image, head, query, key]; only inside `unfused`
    attn_heads   weighted sums of the value vectors, heads concatenated
    attn_memory  input of `attn.proj`: coefficients of the attention layer's memories
    mlp_memory   input of `mlp.fc2`: coefficients of the MLP's memories
    mlp_hidden   output of `mlp.fc1`, before the activation
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from classlens.errors import InputError

# Place of each site in a block of timm's ViTs: the module's path, and whether the site is the module's input instead of its output.
# `drop_path1`, `drop_path2` and `attn_drop` do nothing in evaluation mode. The outputs of the first two are exactly what the block adds to
# the residual stream, after layer-scale and post-norm.
_PLACES = {
    "resid_pre": ("", True),
    "resid_post": ("", False),
    "attn_out": ("drop_path1", False),
    "mlp_out": ("drop_path2", False),
    "attn_in": ("attn", True),
    "attn_weights": ("attn.attn_drop", False),
    "attn_heads": ("attn.norm", True),
    "attn_memory": ("attn.proj", True),
    "mlp_memory": ("mlp.fc2", True),
    "mlp_hidden": ("mlp.fc1", False),
}
SITES = tuple(_PLACES)

ViT = Any
"""A Vision Transformer of timm. The type is `Any`, because `nn.Module` does not declare attributes such as `blocks`."""

Read = Callable[[Tensor], object]
Edit = Callable[[Tensor], Tensor]


class Trace:
    """Context manager that reads and edits activations of an unmodified timm ViT during a forward pass.

        with Trace(model, ["resid_post.11", "attn_out.3"]) as trace:
            model(images)
        trace["attn_out.3"]  # [image, token, width]

    Args:
        model: a timm model with `blocks`.
        read: names of the activations to record; or a mapping from names to functions, whose results are recorded instead of the
            activations. This saves RAM and VRAM if a model has many blocks.
        edit: functions by name. Each function's result replaces the activation, before the activation is recorded.
        stop: name of the last activation that is needed. The forward pass ends there, without an error and without an output.

    Raises:
        KeyError: a name has no known site, or the model does not have its block.
        InputError: the model has no `blocks`, or its blocks have no such site.
    """

    def __init__(
        self,
        model: ViT,
        read: Sequence[str] | Mapping[str, Read] = (),
        edit: Mapping[str, Edit] | None = None,
        stop: str | None = None,
    ):
        if not hasattr(model, "blocks"):
            raise InputError(f"model {type(model).__name__} cannot be traced: it is not a Vision Transformer with `blocks`")
        self._model = model
        self._read = read if isinstance(read, Mapping) else dict.fromkeys(read, torch.Tensor.detach)
        self._edit = edit or {}
        self._stop = stop
        self._kept: dict[str, object] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        for name in self._names():
            self._place(name)

    def _names(self) -> set[str]:
        return {*self._read, *self._edit, *([self._stop] if self._stop else [])}

    def _place(self, name: str) -> tuple[nn.Module, bool]:
        site, _, block = name.partition(".")
        blocks = self._model.blocks
        if site not in _PLACES or not block.isdigit() or int(block) >= len(blocks):
            raise KeyError(f"{name!r}: names are SITE.BLOCK with SITE one of {', '.join(SITES)} and BLOCK from 0 to {len(blocks) - 1}")
        path, is_input = _PLACES[site]
        try:
            if site == "attn_heads" and not hasattr(blocks[int(block)].attn, "norm"):
                path = "attn.proj"  # BEiT's attention has no norm before its output projection
            return blocks[int(block)].get_submodule(path), is_input
        except AttributeError:
            raise InputError(f"model {type(self._model).__name__} has no site {name!r}: its blocks have no `{path}`") from None

    def _seen(self, name: str, activation: Tensor) -> Tensor:
        if name in self._edit:
            activation = self._edit[name](activation)
        if name in self._read:
            self._kept[name] = self._read[name](activation)
        if name == self._stop:
            raise _Stop
        return activation

    def __enter__(self) -> "Trace":
        for name in self._names():
            module, is_input = self._place(name)
            if is_input:
                hook = module.register_forward_pre_hook(lambda _, inputs, name=name: (self._seen(name, inputs[0]), *inputs[1:]))
            else:
                hook = module.register_forward_hook(lambda _, inputs, output, name=name: self._seen(name, output))
            self._hooks.append(hook)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        return kind is _Stop

    def __getitem__(self, name: str) -> Any:
        return self._kept[name]

    def pop(self, name: str) -> Any:
        """Remove and return a recorded activation."""
        return self._kept.pop(name)

    def pop_all(self) -> dict[str, Any]:
        """Remove and return all recorded activations by name."""
        kept, self._kept = self._kept, {}
        return kept


class _Stop(Exception):
    """Signal that ends a forward pass early."""


class _Skip(nn.Module):
    """A block that changes nothing."""

    def forward(self, states: Tensor, *_: Any, **__: Any) -> Tensor:
        return states


@contextmanager
def starting_at(model: ViT, block: int) -> Iterator[None]:
    """Skip the blocks before `block` inside the `with` block. A `Trace` that edits `resid_pre.{block}` then starts a forward pass there."""
    skipped = list(model.blocks)[:block]
    try:
        for index in range(block):
            model.blocks[index] = _Skip()
        yield
    finally:
        for index, module in enumerate(skipped):
            model.blocks[index] = module


@contextmanager
def unfused(model: ViT) -> Iterator[None]:
    """Switch off the fused attention kernel inside the `with` block, so that a `Trace` can read attention weights."""
    attentions = [block.attn for block in model.blocks]
    fused = [attention.fused_attn for attention in attentions]
    try:
        for attention in attentions:
            attention.fused_attn = False
        yield
    finally:
        for attention, value in zip(attentions, fused, strict=True):
            attention.fused_attn = value
