"""Attribution of logits to heads and MLPs: what each writes directly.

The residual stream is a sum, and the class embedding is linear. With the statistics of the final norm held fixed, the logit of a class is
therefore exactly a sum too: of the embedding, of every head and MLP, and of biases. Each term is what its component adds to the logit,
without what later components make of it.

Everything between a component and the logits is frozen at the values of the image: layer-scale, norms after a sublayer and inside
attention, the final norm, and the length of the state in a cosine head. All of these multiply a state by a number and a fixed matrix. The
numbers differ between tokens, the matrices do not, so states are first summed over the tokens that the output is read from.

Source: Elhage et al., A Mathematical Framework for Transformer Circuits, 2021 (direct logit attribution); Gandelsman, Efros & Steinhardt,
ICLR 2024, for CLIP's image encoder. See docs/analyses/attribution.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from classlens.analyses.frozen import FrozenNorm, head_parts
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families
from classlens.models.class_embedding import ClassEmbedding
from classlens.trace import Read, Trace, ViT, unfused


class Reading:
    """How the output reads the last states, with everything that depends on the states frozen.

    The result of a reading is a vector for the class embedding: its product with `classes` are logits minus their mean over classes.

    Args:
        lens: the model's lens.
        states: the last block's states at the tokens that the output is read from, [image, token, width]; it is read from their mean.
        head: class embedding of these tokens.
        weight: share of this reading in the output.
    """

    def __init__(self, lens: Lens, states: Tensor, head: nn.Module, weight: float = 1):
        self._norm = FrozenNorm.at(lens.norm, states)
        mean = lens.norm(states).mean(dim=1)
        self._fc_norm = FrozenNorm.at(lens.fc_norm, mean)
        self.share = self._norm.scale / states.shape[1]
        """Factor of each token's state in the sum over tokens, [image, token, 1]."""
        vectors, bias, self._projection, self._length = head_parts(head, lens.fc_norm(mean))
        self.classes = weight * (vectors - vectors.mean(dim=0))
        """Class embedding minus its mean over classes, [class, width of the vectors]."""
        self.bias = torch.zeros_like(vectors[:, 0]) if bias is None else weight * (bias - bias.mean())
        """The head's bias minus its mean over classes, [class]."""

    def vectors(self, summed: Tensor) -> Tensor:
        """Return what states add to the output, [image, ..., width of the vectors], from their sums [image, ..., width] by `share`."""
        scale = (self._fc_norm.scale * self._length).reshape(-1, *(1,) * (summed.dim() - 1))
        states = scale * self._fc_norm.linear(self._norm.linear(summed))
        return states if self._projection is None else functional.linear(states, self._projection.weight)

    def constant(self, like: Tensor) -> Tensor:
        """Return what the biases of the norms and of the head's projection add, with the type of vectors [image, width]."""
        states = self._fc_norm.scale * self._fc_norm.linear(self._norm.constant(like)) + self._fc_norm.constant(like)
        return self._length * (states if self._projection is None else self._projection(states))


@dataclass(frozen=True)
class Attribution:
    """The vectors that each component adds to the output, for the class embedding.

    Attributes:
        embedding: the tokens before the first block, [image, width].
        heads: [image, block, head, width].
        mlps: [image, block, width].
        biases: constants: biases of values, of attention's output, of norms and of the head's projection, [image, width].
        classes: class embedding minus its mean over classes, [class, width].
        bias: the head's bias minus its mean over classes, [class].
    """

    embedding: Tensor
    heads: Tensor
    mlps: Tensor
    biases: Tensor
    classes: Tensor
    bias: Tensor

    def logits(self, vectors: Tensor) -> Tensor:
        """Return what vectors [..., width] add to each class's logit, minus the mean over classes, [..., class]."""
        return vectors @ self.classes.T

    @property
    def output(self) -> Tensor:
        """The sum of all terms: logits minus their mean over classes, [image, class]."""
        vectors = self.embedding + self.heads.sum(dim=(1, 2)) + self.mlps.sum(dim=1) + self.biases
        return self.logits(vectors) + self.bias


class WrittenByHeads:
    """How a block's attention writes into the residual stream, with the norms inside and after it frozen.

    Args:
        block: a block of an accepted model.
        states: weighted sums of the values at some tokens, heads concatenated, [image, token, width of the heads].
    """

    def __init__(self, block: ViT, states: Tensor):
        attention = block.attn
        inner = getattr(attention, "norm", None)
        written = attention.proj(states if inner is None else inner(states))
        self._inner = FrozenNorm.at(inner, states)
        self._after = FrozenNorm.at(block.norm1 if isinstance(block, families.POST_NORM) else None, written)
        scale = block.ls1 if isinstance(getattr(block, "ls1", None), nn.Module) else None
        self._layer_scale = getattr(scale, "gamma", getattr(block, "gamma_1", None))
        self._proj, self.count = attention.proj, attention.num_heads
        bias = families.value_bias(attention)
        self._value_bias = torch.zeros_like(states[0, 0]) if bias is None else bias
        self._states = states

    def summed(self, share: Tensor) -> Tensor:
        """Return the heads' states without the bias of the values, summed over tokens, [image, width of the heads].

        Args:
            share: factor of each token in the sum, [image, token, 1].
        """
        return ((self._states - self._value_bias) * self.factor(share)).sum(dim=1)

    def factor(self, share: Tensor) -> Tensor:
        """Return the factor of each token's heads in the sum over tokens, [image, token, 1]."""
        return share * self._after.scale * self._inner.scale

    def written(self, summed: Tensor) -> Tensor:
        """Return what each head writes, [image, head, width], from `summed`."""
        parts = summed.unflatten(-1, (self.count, -1))
        alone = torch.eye(self.count, dtype=summed.dtype, device=summed.device)[None, :, :, None] * parts[:, None]
        return self._scaled(self._after.linear(functional.linear(self._inner.linear(alone.flatten(2)), self._proj.weight)))

    def constant(self, share: Tensor) -> Tensor:
        """Return what the biases of values, norms and projection write, [image, width]."""
        of_token = share * self._after.scale
        inside = (of_token * self._inner.scale).sum(dim=1) * self._inner.linear(self._value_bias)
        inside = inside + of_token.sum(dim=1) * self._inner.constant(inside)
        bias = torch.zeros_like(self._proj.weight[:, 0]) if self._proj.bias is None else self._proj.bias
        written = functional.linear(inside, self._proj.weight) + of_token.sum(dim=1) * bias
        return self._scaled(self._after.linear(written) + share.sum(dim=1) * self._after.constant(written))

    def _scaled(self, states: Tensor) -> Tensor:
        return states if self._layer_scale is None else states * self._layer_scale


def check(model: ViT) -> None:
    """Raise an InputError if a model's heads do not write a sum."""
    if families.attends_with_gate(model):
        raise InputError("attribution knows no attention with a gate: leave `attribution` and `ablation` out of the model's `analyses`")


def read_out(lens: Lens) -> list[slice]:
    """Return the tokens that each part of the output is read from: all image tokens, [CLS], or [CLS] and the distillation token."""
    if lens.pooled:
        return [slice(lens.prefix_tokens, None)]
    return [slice(0, 1)] if lens.second_head is None else [slice(0, 1), slice(1, 2)]


def vector_width(lens: Lens) -> int:
    """Return the width of the vectors in an attribution."""
    heads = [head for head in (lens.head, lens.second_head) if head is not None]
    return sum(int(_vectors(head).shape[1]) for head in heads)


def _vectors(head: nn.Module) -> Tensor:
    """Return the class vectors of a head, [class, width]."""
    found: Any = head.vectors if isinstance(head, ClassEmbedding) else head.weight
    return found


@torch.no_grad()
def attribution(model: ViT, lens: Lens, images: Tensor, seen: Callable[[str, Tensor], object] | None = None) -> Attribution:
    """Return what each head and MLP adds to the output, from one forward pass.

    Args:
        model: an accepted model in evaluation mode.
        lens: the model's lens.
        images: [image, 3, height, width].
        seen: called with the name and all states of `attn_heads` and `mlp_out` of every block, [image, token, width].

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """
    check(model)
    last = len(model.blocks) - 1
    parts = read_out(lens)
    tokens = slice(parts[0].start, parts[-1].stop)
    sites = [f"{site}.{block}" for site in ("attn_heads", "mlp_out") for block in range(last + 1)]
    names = ["resid_pre.0", f"resid_post.{last}", *sites]

    def kept(name: str, states: Tensor) -> Tensor:
        if seen and name in sites:
            seen(name, states)
        return _whole(states[:, tokens])

    with Trace(model, {name: partial(kept, name) for name in names}, stop=f"resid_post.{last}") as trace:
        model(images)
    with _in_full_precision(images):
        readings = _readings(lens, trace[names[1]])
        found = [_of_reading(model, trace, place, reading) for place, reading in readings]
        embedding, heads, mlps, biases = (torch.cat(vectors, dim=-1) for vectors in zip(*found, strict=True))
        classes = torch.cat([reading.classes for _, reading in readings], dim=-1)
        return Attribution(embedding, heads, mlps, biases, classes, torch.stack([reading.bias for _, reading in readings]).sum(dim=0))


def _in_full_precision(images: Tensor) -> torch.autocast:
    """Return a context without mixed precision, in which terms are computed even if the forward pass has it."""
    return torch.autocast(images.device.type, enabled=False)


def _whole(states: Tensor) -> Tensor:
    """Return states in single precision, unless they are more precise."""
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _readings(lens: Lens, states: Tensor) -> list[tuple[slice, Reading]]:
    """Return the parts of the output, with the place of their tokens among those that the output is read from.

    Args:
        lens: the model's lens.
        states: the last block's states at the tokens that the output is read from, [image, token, width].
    """
    if lens.second_head is None:
        return [(slice(None), Reading(lens, states, lens.head))]
    pairs = [(slice(0, 1), lens.head), (slice(1, 2), lens.second_head)]
    return [(place, Reading(lens, states[:, place], head, weight=0.5)) for place, head in pairs]


def _of_reading(model: ViT, trace: Trace, place: slice, reading: Reading) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the vectors of embedding, heads, MLPs and biases in one reading (`Attribution`)."""

    def summed(name: str) -> Tensor:
        return (trace[name][:, place] * reading.share).sum(dim=1)

    embedding = reading.vectors(summed("resid_pre.0"))
    biases, heads, mlps = reading.constant(embedding), [], []
    for block, module in enumerate(model.blocks):
        attention = WrittenByHeads(module, trace[f"attn_heads.{block}"][:, place])
        heads.append(reading.vectors(attention.written(attention.summed(reading.share))))
        biases = biases + reading.vectors(attention.constant(reading.share))
        mlps.append(reading.vectors(summed(f"mlp_out.{block}")))
    return embedding, torch.stack(heads, dim=1), torch.stack(mlps, dim=1), biases


@torch.no_grad()
def by_token(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> Tensor:
    """Return what each head writes from each token into the logit of some classes, minus the mean over classes.

    A head writes a sum over tokens, weighted by attention. The constant that the bias of the values contributes belongs to no token. The
    sum over tokens is the head's term in `attribution`.

    Args:
        model: an accepted model in evaluation mode.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: class of each image, [image], for each result.

    Returns:
        [result, image, block, head, token].

    Raises:
        InputError: attention has a gate, or a norm is of an unknown kind.
    """
    check(model)
    blocks = range(len(model.blocks))
    parts = read_out(lens)
    tokens = slice(parts[0].start, parts[-1].stop)
    last = f"resid_post.{blocks[-1]}"
    read: dict[str, Read] = {f"attn_heads.{block}": lambda states: _whole(states[:, tokens]) for block in blocks}
    read |= {last: lambda states: _whole(states[:, tokens])}
    read |= {f"attn_weights.{block}": lambda weights: _whole(weights[:, :, tokens]) for block in blocks}
    read |= {f"attn_in.{block}": partial(_values_without_bias, model.blocks[block].attn) for block in blocks}
    with unfused(model), Trace(model, read, stop=last) as trace:
        model(images)
    found = []
    with _in_full_precision(images):
        for block in blocks:
            of_block = torch.zeros((), device=images.device)
            for place, reading in _readings(lens, trace[last]):
                heads = WrittenByHeads(model.blocks[block], trace[f"attn_heads.{block}"][:, place])
                attention = torch.einsum("ihqk,iqo->ihk", trace[f"attn_weights.{block}"][:, :, place], heads.factor(reading.share))
                directions = torch.stack([_direction(reading, heads, wanted) for wanted in classes])
                of_block = of_block + torch.einsum("ihk,ikhd,wihd->wihk", attention, trace[f"attn_in.{block}"], directions)
            found.append(of_block)
    return torch.stack(found, dim=2)


def _values_without_bias(attention: nn.Module, states: Tensor) -> Tensor:
    values, bias = _whole(families.values(attention, states)), families.value_bias(attention)
    return values if bias is None else values - bias.unflatten(0, values.shape[2:])


def _direction(reading: Reading, heads: WrittenByHeads, classes: Tensor) -> Tensor:
    """Return the gradient of a class's logit with respect to the summed states of the heads, [image, head, head width]."""
    with torch.enable_grad():
        summed = heads.summed(reading.share).requires_grad_()
        logits = (reading.vectors(heads.written(summed)) * reading.classes[classes][:, None]).sum()
        return torch.autograd.grad(logits, summed)[0].unflatten(-1, (heads.count, -1))
