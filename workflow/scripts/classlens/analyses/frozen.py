"""Norms and heads with the statistics of some states held fixed: each becomes a linear map.

Direct logit attribution (`attribution`) and layer-wise relevance propagation (`attnlrp`) both need this.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from classlens.compute.transfer import rarely
from classlens.errors import InputError
from classlens.models.class_embedding import ClassEmbedding


@dataclass(frozen=True)
class FrozenNorm:
    """A norm whose statistics are held fixed: `scale * (centred state * weight) + bias`.

    Attributes:
        scale: inverse standard deviation (layer norm) or root mean square (RMS norm) of each state, [..., 1]; 1 for no norm.
        weight: [width], or None.
        bias: [width], or None.
        centred: whether the mean of the state is subtracted.
    """

    scale: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    centred: bool = False

    @classmethod
    def at(cls, norm: nn.Module | None, states: Tensor) -> "FrozenNorm":
        """Return a norm with the statistics of some states [..., width].

        Raises:
            InputError: the norm is of an unknown kind.
        """
        if norm is None or isinstance(norm, nn.Identity):
            return cls(torch.ones_like(states[..., :1]))
        centred = isinstance(norm, nn.LayerNorm)
        seen = states - states.mean(dim=-1, keepdim=True) if centred else states
        frozen = cls(
            (seen.square().mean(dim=-1, keepdim=True) + getattr(norm, "eps", 0)).rsqrt(),
            getattr(norm, "weight", None),
            getattr(norm, "bias", None),
            centred,
        )
        known = frozen.scale * frozen.linear(states) + frozen.constant(states)
        if rarely(~torch.isclose(known, norm.forward(states), atol=1e-3, rtol=1e-3).all()):
            raise InputError(f"only layer norms and RMS norms can be held fixed, and {type(norm).__name__} is another norm")
        return frozen

    def linear(self, states: Tensor) -> Tensor:
        """Return the linear part without its scale: centred states times the weight, [..., width]."""
        states = states - states.mean(dim=-1, keepdim=True) if self.centred else states
        return states if self.weight is None else states * self.weight

    def constant(self, like: Tensor) -> Tensor:
        """Return the bias, [width], with the type of a tensor; 0 without a bias."""
        return torch.zeros((), dtype=like.dtype, device=like.device) if self.bias is None else self.bias


def head_parts(head: nn.Module, states: Tensor) -> tuple[Tensor, Tensor | None, nn.Linear | None, Tensor]:
    """Return a head's class vectors, bias, projection, and the factor of its products, [image, 1], frozen at states [image, width]."""
    if isinstance(head, nn.Linear):
        return head.weight, head.bias, None, torch.ones_like(states[:, :1])
    assert isinstance(head, ClassEmbedding)
    projected = states if head.projection is None else head.projection(states)
    length = projected.norm(dim=-1, keepdim=True).clamp(min=1e-12) if head.cosine else torch.ones_like(states[:, :1])
    vectors = functional.normalize(head.vectors, dim=1) if head.cosine else head.vectors
    return vectors, head.bias, head.projection, 1 / (head.temperature * length)
