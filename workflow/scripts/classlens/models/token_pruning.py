"""Running a model on a subset of its image tokens: the others are removed after the position embedding, not blackened.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1. Images that keep different numbers of tokens run in one
batch: shorter sequences get padding tokens, to which no token attends, so the result is the same as without them. If attention depends on
token positions (`families.attends_by_position`), all tokens stay in the sequence, and no token attends to the removed ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from classlens.compute.transfer import to_device
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families
from classlens.trace import Trace, ViT


@dataclass(frozen=True)
class KeptTokens:
    """The tokens that a batch of images keeps.

    Attributes:
        states: input of the first block, [image, kept, width].
        position: original index of each token, [image, kept].
        real: False for padding tokens and for removed tokens that stay in the sequence, bool [image, kept]; None if all are real.
    """

    states: Tensor
    position: Tensor
    real: Tensor | None

    @property
    def attention_mask(self) -> Tensor | None:
        """Mask of the tokens that may be attended to, bool [image, 1, 1, kept]; None for all."""
        return None if self.real is None else self.real[:, None, None, :]


def check(model: ViT, name: str) -> None:
    """Raise an InputError if a model's attention takes no mask."""
    if not families.takes_masks(model):
        raise InputError(
            f"model {name}: attention and token perturbation, relevance and deletion are not defined for {type(model).__name__}: "
            "leave them out of the model's `analyses`"
        )


def embed(model: ViT, images: Tensor) -> Tensor:
    """Return the first block's input for images [image, 3, height, width]: tokens with positions, [image, token, width]."""
    with Trace(model, ["resid_pre.0"], stop="resid_pre.0") as trace:
        model(images)
    return trace["resid_pre.0"]


def last_states(model: ViT, states: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the last block's output for an input of the first block, [image, token, width].

    Args:
        model: a model that `check` accepts.
        states: input of the first block, [image, token, width].
        mask: which tokens (last axis) each token (second to last axis) may attend to, bool, broadcastable to [image, head, token, token];
            None for all.
    """
    for block, arguments in zip(model.blocks, families.block_arguments(model, mask), strict=True):
        states = block(states, **arguments)
    return states


def keep(model: ViT, states: Tensor, kept: Tensor) -> KeptTokens:
    """Return the kept tokens of each image, in their original order.

    Args:
        model: the model that will process the tokens.
        states: input of the first block, [image, token, width].
        kept: which tokens to keep, bool [image, token], on the CPU, which needs their largest number.
    """
    device = states.device
    if families.attends_by_position(model):
        return KeptTokens(states, _everywhere(states), None if bool(kept.all()) else to_device(kept, device))
    longest = int(kept.sum(dim=1).max()) if len(kept) else kept.shape[1]
    position = kept.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
    real = kept.gather(1, position)
    positions = to_device(position, device)
    return KeptTokens(_take(states, positions), positions, None if bool(real.all()) else to_device(real, device))


def at(model: ViT, states: Tensor, images: Tensor, position: Tensor) -> KeptTokens:
    """Return the tokens at given positions, the same number for every row.

    Args:
        model: the model that will process the tokens.
        states: input of the first block, [image, token, width].
        images: image index of each row, may repeat, [row].
        position: indices of the tokens to keep, ascending, [row, kept].
    """
    if families.attends_by_position(model):
        states = states[images]
        kept = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device).scatter_(1, position, True)
        return KeptTokens(states, _everywhere(states), None if position.shape == kept.shape else kept)
    return KeptTokens(states[images[:, None], position], position, None)


def tokens_run(model: ViT, tokens: int, kept: int) -> int:
    """Return the number of tokens that the model processes for an image of `tokens` tokens that keeps `kept` of them."""
    return tokens if families.attends_by_position(model) else kept


def _everywhere(states: Tensor) -> Tensor:
    """Return the position of each token of states [image, token, width], [image, token]."""
    return torch.arange(states.shape[1], device=states.device).expand(states.shape[:2])


def _take(states: Tensor, position: Tensor) -> Tensor:
    """Return the tokens [image, kept, width] at positions [image, kept]."""
    return states.gather(1, position[..., None].expand(-1, -1, states.shape[-1]))


def run(model: ViT, lens: Lens, tokens: KeptTokens) -> tuple[Tensor, Tensor]:
    """Return the last block's states of kept tokens, [image, kept, width], and the model's output, [image, class]."""
    states = last_states(model, tokens.states, tokens.attention_mask)
    return states, lens.output(states, tokens.real)
