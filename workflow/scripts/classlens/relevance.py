"""Which image tokens matter for a class: the gradient of a block's class projection by its attention, and the baselines.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5; methods, section 8. Baselines: Chefer, Gur & Wolf, ICCV 2021; Abnar & Zuidema,
ACL 2020 (rollout). All maps say "large = relevant" and have a value per image token.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from classlens import families
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.trace import Edit, Trace, ViT, unfused


def class_loss(logits: Tensor, classes: Tensor, protocol: Protocol) -> Tensor:
    """Cross-entropy of the wanted classes, summed over images.

    Args:
        logits: [image, class].
        classes: [image].
        protocol: `softmax_twice` takes probabilities for logits.
    """
    logits = logits.softmax(dim=-1) if protocol.softmax_twice else logits
    return functional.cross_entropy(logits, classes, reduction="sum")


def block_projection(lens: Lens, written: Tensor) -> Tensor:
    """Class logits [image, class] of what a block's attention adds [image, token, width]: at [CLS], or pooled as the model pools."""
    return lens.output(written) if lens.pooled else lens(written[:, 0])


def class_relevance(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor], protocol: Protocol) -> Tensor:
    """Relevance of every image token in every head and block, for several classes, from one forward pass.

    A block's attention writes `sum_j A[CLS, j] v_j` through its output matrix, so that the gradient of a loss by `A[CLS, j]` is
    `<v_j, u>`, with u the gradient by that sum: no gradient leaves the block, and none passes through the attention weights. Where the
    model pools, the gradients of all queries are summed.

    Args:
        model: a model that `kept_tokens.check` lets pass.
        lens: its lens.
        images: [image, 3, height, width].
        classes: for each map, the wanted class of each image, [image].
        protocol: settles the loss.

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
        maps.append(torch.stack([-_by_attention(values, gradient)[..., lens.prefix_tokens :] for gradient in gradients]))
        return written.detach()

    blocks = range(len(model.blocks))
    edits: dict[str, Edit] = {f"attn_in.{block}": partial(keep_values, block=block) for block in blocks}
    edits |= {f"{site}.{block}": edit for block in blocks for site, edit in (("attn_heads", start), ("attn_out", finish))}
    with torch.no_grad(), Trace(model, edit=edits, stop=f"attn_out.{blocks[-1]}"):
        model(images)
    return torch.stack(maps, dim=2)


def _by_attention(values: Tensor, gradient: Tensor) -> Tensor:
    """Gradient by attention weights, summed over queries, [image, head, token].

    Args:
        values: [image, token, head, head width].
        gradient: by the weighted sums of the values, heads side by side, [image, token, width].
    """
    return torch.einsum("ihd,ithd->iht", gradient.sum(dim=1).unflatten(-1, values.shape[2:]), values)


def attention_maps(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """The baselines that look at attention weights, from one forward pass.

    Args:
        model: a model that `kept_tokens.check` lets pass.
        lens: its lens.
        images: [image, 3, height, width].
        classes: for each of Chefer's maps, the wanted class of each image, [image].

    Returns:
        Chefer's maps, one per wanted class; attention rollout; attention of the last block. Each [image, image token].
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
    """Chefer's relevance of each token (last axis) for each token, [image, token, token].

    Args:
        attention: attention weights of each block, [image, head, token, token].
        gradients: gradients of the wanted logit by them.
    """
    relevance = _identity(attention[0])
    for weights, gradient in zip(attention, gradients, strict=True):
        relevance = relevance + (weights * gradient).clamp(min=0).mean(dim=1) @ relevance
    return relevance


def rollout(attention: Sequence[Tensor]) -> Tensor:
    """Attention rollout, [image, token, token]: the product over blocks of mean attention and residual connection, half each."""
    identity = _identity(attention[0])
    flow = identity
    for weights in attention:
        flow = (weights.mean(dim=1) + identity) / 2 @ flow
    return flow


def _identity(attention: Tensor) -> Tensor:
    return torch.eye(attention.shape[-1], device=attention.device, dtype=attention.dtype).expand(attention.shape[0], -1, -1)


def readout(relevance: Tensor, lens: Lens) -> Tensor:
    """Relevance of image tokens for the model's output, [image, image token], from that for every token, [image, token, token]."""
    first = lens.prefix_tokens
    return relevance[:, first:, first:].mean(dim=1) if lens.pooled else relevance[:, 0, first:]


def random_map(seed: int, draw: int, image_id: int, tokens: int) -> np.ndarray:
    """A map without meaning, [token], the same for the same seed, draw and image however images are batched."""
    return np.random.default_rng([seed, draw, image_id]).random(tokens, np.float32)
