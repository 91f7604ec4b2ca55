"""Relevance of image tokens for a class: our class projection method, and the baselines.

The relevance of an image token says how much the class's projection would gain if [CLS] attended to the token more. It is the gradient of a
block's class projection with respect to the block's attention weights. All maps have one value per image token; larger means more relevant.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. Baselines: Chefer, Gur & Wolf, ICCV 2021; Abnar & Zuidema, ACL 2020 (rollout).
See docs/analyses/relevance.md.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from classlens.lens import Lens
from classlens.models import families
from classlens.protocol import Protocol
from classlens.trace import Edit, Trace, ViT, unfused


def class_loss(logits: Tensor, classes: Tensor, protocol: Protocol) -> Tensor:
    """Return the cross-entropy of the wanted classes, summed over images.

    Args:
        logits: [image, class].
        classes: [image].
        protocol: `softmax_twice` uses probabilities as logits.
    """
    logits = logits.softmax(dim=-1) if protocol.softmax_twice else logits
    return functional.cross_entropy(logits, classes, reduction="sum")


def block_projection(lens: Lens, written: Tensor) -> Tensor:
    """Return class logits [image, class] of a block's attention output [image, token, width], at [CLS] or of the pooled tokens."""
    return lens.output(written) if lens.pooled else lens(written[:, 0])


def class_relevance(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor], protocol: Protocol) -> Tensor:
    """Return the relevance of every image token in every head and block, for several classes, from one forward pass.

    A block's attention writes the weighted sum `sum_j A[CLS, j] v_j` through its output matrix. The gradient of the loss with respect to
    `A[CLS, j]` is therefore `<v_j, u>`, with u the gradient with respect to the sum. No gradient leaves the block or passes through the
    attention weights. In a pooled model, the gradients of all queries are summed.

    Relevance is relative to the head's average, `-<v_j - sum_k A[CLS, k] v_k, u>`: it is what a token adds beyond what the head writes
    anyway. The attention weights of a head sum to one, so a constant can move between the bias of the values and that of the output matrix
    without any effect on the model. The constant shifts the gradients of all tokens equally, but not the relative gradients.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each map.
        protocol: chooses the loss, and whether relevance is relative to the head's average.

    Returns:
        [wanted, image, block, head, image token].
    """
    maps: list[Tensor] = []
    values, sums = torch.empty(0), torch.empty(0)

    def keep_values(states: Tensor, block: int) -> Tensor:
        nonlocal values
        values = families.values(model.blocks[block].attn, states)
        return states

    def start(heads: Tensor) -> Tensor:
        nonlocal sums
        torch.set_grad_enabled(True)
        sums = heads.detach().requires_grad_()
        return sums

    def finish(written: Tensor) -> Tensor:
        logits = block_projection(lens, written)
        losses = [class_loss(logits, wanted, protocol) for wanted in classes]
        gradients = [torch.autograd.grad(loss, sums, retain_graph=True)[0] for loss in losses]
        torch.set_grad_enabled(False)
        written_anyway = torch.zeros_like(sums) if protocol.uncentred_relevance else sums.detach()
        maps.append(torch.stack([-_by_attention(values, gradient, written_anyway)[..., lens.prefix_tokens :] for gradient in gradients]))
        return written.detach()

    blocks = range(len(model.blocks))
    edits: dict[str, Edit] = {f"attn_in.{block}": partial(keep_values, block=block) for block in blocks}
    edits |= {f"{site}.{block}": edit for block in blocks for site, edit in (("attn_heads", start), ("attn_out", finish))}
    with torch.no_grad(), Trace(model, edit=edits, stop=f"attn_out.{blocks[-1]}"):
        model(images)
    return torch.stack(maps, dim=2)


def _by_attention(values: Tensor, gradient: Tensor, average: Tensor) -> Tensor:
    """Return gradients with respect to attention weights, relative to an average and summed over queries, [image, head, token].

    Args:
        values: value vectors, [image, token, head, head width].
        gradient: gradient with respect to the weighted sums of the values, heads concatenated, [image, query, width].
        average: average to subtract from the values for each query, heads concatenated, [image, query, width].
    """
    of_tokens = torch.einsum("ihd,ithd->iht", gradient.sum(dim=1).unflatten(-1, values.shape[2:]), values)
    of_average = (gradient * average).sum(dim=1).unflatten(-1, values.shape[2:]).sum(dim=-1)
    return of_tokens - of_average[..., None]


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
        gradients = [torch.autograd.grad(output.gather(1, wanted[:, None]).sum(), weights, retain_graph=True) for wanted in classes]
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


def random_map(seed: int, draw: int, image_id: int, tokens: int) -> np.ndarray:
    """Return a random map, [token], which depends on seed, draw and image only, not on the batch."""
    return np.random.default_rng([seed, draw, image_id]).random(tokens, np.float32)
