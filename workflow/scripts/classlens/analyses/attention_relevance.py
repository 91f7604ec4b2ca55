"""Relevance of image tokens by attention weights: Chefer's method, attention rollout, and the attention of the last block.

Source: Chefer, Gur & Wolf, ICCV 2021; Abnar & Zuidema, ACL 2020 (rollout). See docs/analyses/relevance.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from classlens.analyses.class_gradients import class_gradients
from classlens.lens import Lens
from classlens.trace import Trace, ViT, unfused


def attention_maps(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the maps of the baselines that use attention weights, from one forward pass.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each of Chefer's maps.

    Returns:
        Chefer's maps, one for each element of `classes`; attention rollout; attention of the last block. Each is [image, image token].
    """
    weights: list[Tensor] = []

    def follow(attention: Tensor) -> Tensor:
        weights.append(attention if attention.requires_grad else attention.detach().requires_grad_())
        return weights[-1]

    edits = {f"attn_weights.{block}": follow for block in range(len(model.blocks))}
    with torch.enable_grad(), unfused(model), Trace(model, edit=edits):
        output = model(images)
        gradients = class_gradients(output, classes, weights)
    attention = [weight.detach() for weight in weights]
    return (
        [readout(chefer(attention, gradient), lens) for gradient in gradients],
        readout(rollout(attention), lens),
        readout(attention[-1].mean(dim=1), lens),
    )


def chefer(attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return Chefer's relevance of each token (last axis) for each token, [image, token, token].

    Args:
        attention: attention weights of each block, [image, head, token, token].
        gradients: gradients of the wanted logit with respect to these weights.
    """
    relevance = _identity(attention[0])
    for weights, gradient in zip(attention, gradients, strict=True):
        relevance = relevance + (weights * gradient).clamp(min=0).mean(dim=1) @ relevance
    return relevance


def rollout(attention: Sequence[Tensor]) -> Tensor:
    """Return attention rollout, [image, token, token]: the product over blocks of (mean attention + identity) / 2."""
    identity = _identity(attention[0])
    flow = identity
    for weights in attention:
        flow = (weights.mean(dim=1) + identity) / 2 @ flow
    return flow


def _identity(attention: Tensor) -> Tensor:
    return torch.eye(attention.shape[-1], device=attention.device, dtype=attention.dtype).expand(attention.shape[0], -1, -1)


def readout(relevance: Tensor, lens: Lens) -> Tensor:
    """Return the relevance of image tokens for the model's output, [image, image token].

    It is the mean of the relevance for the tokens that the model reads its output from: all image tokens, [CLS], or [CLS] and the
    distillation token.

    Args:
        relevance: relevance of each token (last axis) for each token, [image, token, token].
        lens: the model's lens.
    """
    first = lens.prefix_tokens
    read = slice(first, None) if lens.pooled else slice(0, 1 if lens.second_head is None else 2)
    return relevance[:, read, first:].mean(dim=1)
