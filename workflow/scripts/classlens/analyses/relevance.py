"""Relevance of image tokens for a class by the class projection: our method and two variants of it.

The relevance of an image token says how much the class's projection would gain if [CLS] attended to the token more. It is the gradient of a
block's class projection with respect to the block's attention weights. All maps have one value per image token; larger means more relevant.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5. See docs/analyses/relevance.md.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ClassRelevance:
    """The relevance of every image token in every head and block, [wanted, image, block, head, image token].

    Attributes:
        relevance: our method's.
        times_attention: the same times the attention weights; None if it was not asked for.
    """

    relevance: Tensor
    times_attention: Tensor | None

    @property
    def ours(self) -> Tensor:
        """Return the sum over heads and blocks, [wanted, image, image token]."""
        return self.relevance.sum(dim=(2, 3))

    @property
    def relu(self) -> Tensor:
        """Return the sum of what is positive, [wanted, image, image token]."""
        return self.relevance.clamp(min=0).sum(dim=(2, 3))

    @property
    def attention_gradient(self) -> Tensor:
        """Return minus the gradient of the losses with respect to the scores before softmax, [wanted, image, image token]."""
        assert self.times_attention is not None
        return self.times_attention.sum(dim=(2, 3))


def class_relevance(
    model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor], protocol: Protocol, *, with_attention: bool = False
) -> ClassRelevance:
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
        with_attention: also return relevance times attention weights. This switches off the fused attention kernel.
    """
    maps: list[Tensor] = []
    weighted: list[Tensor] = []
    values, sums, weights = torch.empty(0), torch.empty(0), torch.empty(0)

    def keep_values(states: Tensor, block: int) -> Tensor:
        nonlocal values
        values = families.values(model.blocks[block].attn, states)
        return states

    def keep_weights(attention: Tensor) -> Tensor:
        nonlocal weights
        weights = attention
        return attention

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
        if with_attention:
            read = slice(None) if lens.pooled else slice(0, 1)
            parts = [_by_scores(weights[:, :, read], values, gradient[:, read], sums.detach()[:, read]) for gradient in gradients]
            weighted.append(torch.stack([-part[..., lens.prefix_tokens :] for part in parts]))
        return written.detach()

    blocks = range(len(model.blocks))
    edits: dict[str, Edit] = {f"attn_in.{block}": partial(keep_values, block=block) for block in blocks}
    edits |= {f"{site}.{block}": edit for block in blocks for site, edit in (("attn_heads", start), ("attn_out", finish))}
    if with_attention:
        edits |= {f"attn_weights.{block}": keep_weights for block in blocks}
    kernel = unfused(model) if with_attention else nullcontext()
    with torch.no_grad(), kernel, Trace(model, edit=edits, stop=f"attn_out.{blocks[-1]}"):
        model(images)
    return ClassRelevance(torch.stack(maps, dim=2), torch.stack(weighted, dim=2) if with_attention else None)


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


def _by_scores(weights: Tensor, values: Tensor, gradient: Tensor, sums: Tensor) -> Tensor:
    """Return gradients with respect to the scores before softmax, summed over queries, [image, head, token].

    Args:
        weights: attention weights, [image, head, query, token].
        values: value vectors, [image, token, head, head width].
        gradient: gradient with respect to the weighted sums of the values, heads concatenated, [image, query, width].
        sums: these sums, [image, query, width].
    """
    of_heads = gradient.unflatten(-1, values.shape[2:])
    of_tokens = torch.einsum("iqhd,ithd->ihqt", of_heads, values)
    of_average = (of_heads * sums.unflatten(-1, values.shape[2:])).sum(dim=-1).transpose(1, 2)
    return (weights * (of_tokens - of_average[..., None])).sum(dim=2)


def random_map(seed: int, draw: int, image_id: int, tokens: int) -> np.ndarray:
    """Return a random map, [token], which depends on seed, draw and image only, not on the batch."""
    return np.random.default_rng([seed, draw, image_id]).random(tokens, np.float32)
