"""AttnLRP: relevance of image tokens by layer-wise relevance propagation through a whole Vision Transformer.

Relevance flows from a logit back to the tokens, and every layer passes on what it receives. The rules are those of Achtibat et al.: a
linear layer distributes relevance by `input * weight`, and so does softmax with its gradient; a norm is a linear layer with the statistics
of its input; an activation passes relevance on unchanged; a product of two states gives half of it to each. With these rules, relevance is
the input times a gradient that some layers change on its way back, so one backward pass is enough.

Source: Achtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers, ICML 2024. See
docs/analyses/relevance.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn
from torch.nn import functional

from classlens.analyses.class_gradients import class_gradients
from classlens.analyses.frozen import FrozenNorm, head_parts
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families
from classlens.models.class_embedding import ClassEmbedding
from classlens.trace import Edit, Trace, ViT, unfused


def attnlrp(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> Tensor:
    """Return AttnLRP's maps for several classes, [wanted, image, image token], from one forward pass and a backward pass per class.

    Args:
        model: a model that `token_pruning.check` accepts, in evaluation mode.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each map.

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """
    tokens = torch.empty(0)

    def start(states: Tensor) -> Tensor:
        nonlocal tokens
        tokens = states.detach().requires_grad_()
        return tokens

    with torch.enable_grad(), rules(model), Trace(model, edit={"resid_pre.0": start}):
        output = model(images)
    gradients = class_gradients(output, classes, [tokens])
    return torch.stack([(tokens.detach() * gradient).sum(dim=-1)[:, lens.prefix_tokens :] for (gradient,) in gradients])


@contextmanager
def rules(model: ViT) -> Iterator[None]:
    """Change the gradients of a model inside the `with` block to those of AttnLRP; its output stays the same.

    The attention weights are a product of queries and keys, after softmax, and multiply the values. The half for queries and keys is taken
    at the weights, because the gradient of softmax is linear in what it receives.

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """
    if families.attends_with_gate(model):
        raise InputError("AttnLRP knows no attention with a gate: leave `attnlrp` out of `relevance.methods`")
    sites = [f"{site}.{block}" for block in range(len(model.blocks)) for site in ("attn_weights", "attn_heads")]
    halves: dict[str, Edit] = dict.fromkeys(sites, _halved)
    norms = [module for name, module in model.named_modules() if hasattr(module, "normalized_shape") and not name.startswith("patch_embed")]
    with ExitStack() as stack:
        stack.enter_context(unfused(model))
        stack.enter_context(Trace(model, edit=halves))
        hooks = [norm.register_forward_hook(_frozen_norm) for norm in norms]
        hooks += [block.mlp.act.register_forward_hook(_identity_rule) for block in model.blocks]
        hooks += [
            block.mlp.norm.register_forward_pre_hook(lambda _, inputs: _halved(inputs[0]))
            for block in model.blocks
            if isinstance(block.mlp, GluMlp | SwiGLU)
        ]
        hooks += [head.register_forward_hook(_frozen_length) for head in model.modules() if isinstance(head, ClassEmbedding)]
        for hook in hooks:
            stack.callback(hook.remove)
        yield


def _halved(states: Tensor) -> Tensor:
    """Return states whose gradient is halved."""
    return states / 2 + (states / 2).detach()


def _frozen_norm(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    frozen = FrozenNorm.at(norm, inputs[0].detach())
    return frozen.scale * frozen.linear(inputs[0]) + frozen.constant(inputs[0])


def _identity_rule(activation: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Return an activation's output as a multiple of its input, so that input times gradient is the same before and after it."""
    states = inputs[0]
    return states * torch.where(states == 0, 0, output / states).detach()


def _frozen_length(head: ClassEmbedding, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    vectors, bias, projection, factor = head_parts(head, inputs[0].detach())
    states = inputs[0] if projection is None else projection(inputs[0])
    return functional.linear(factor.detach() * states, vectors, bias)
