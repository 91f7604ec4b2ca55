"""Running a model on some of its image tokens: the others are removed after the position embedding, not blackened.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 7. Images that keep different numbers of tokens run
together: shorter ones are padded, and nothing attends to the padding, which gives what removing gives. Where attention depends on the
positions of tokens (`families.attends_by_position`), none is taken out: nothing attends to the removed ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families
from classlens.trace import Trace, ViT


@dataclass(frozen=True)
class KeptTokens:
    """The tokens that some images keep.

    Attributes:
        states: what the first block sees, [image, kept, width].
        position: which token each was, [image, kept].
        real: False for tokens that only fill up, bool [image, kept]; None where there are none of them.
    """

    states: Tensor
    position: Tensor
    real: Tensor | None

    @property
    def attention_mask(self) -> Tensor | None:
        """What may be attended to, bool [image, 1, 1, kept]; None for everything."""
        return None if self.real is None else self.real[:, None, None, :]


def check(model: ViT, name: str) -> None:
    """Raise an InputError for a model whose attention cannot be told what to attend to."""
    if not families.takes_masks(model):
        raise InputError(
            f"model {name}: attention and token perturbation, relevance and deletion are not defined for {type(model).__name__}: "
            "leave them out of the model's `analyses`"
        )


def embed(model: ViT, images: Tensor) -> Tensor:
    """What the first block sees of images [image, 3, height, width]: tokens with their positions, [image, token, width]."""
    with Trace(model, ["resid_pre.0"], stop="resid_pre.0") as trace:
        model(images)
    return trace["resid_pre.0"]


def last_states(model: ViT, states: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the last block gives for what the first one sees, [image, token, width].

    Args:
        model: a model that `check` lets pass.
        states: [image, token, width].
        mask: which tokens (last axis) each token (one but last) may attend to, bool, to be broadcast to [image, head, token, token].
    """
    for block, arguments in zip(model.blocks, families.block_arguments(model, mask), strict=True):
        states = block(states, **arguments)
    return states


def keep(model: ViT, states: Tensor, kept: Tensor) -> KeptTokens:
    """The kept tokens of each image, in their order.

    Args:
        model: the model that they are to be run through.
        states: what the first block sees, [image, token, width].
        kept: which tokens stay, bool [image, token].
    """
    if families.attends_by_position(model):
        return KeptTokens(states, _everywhere(kept), None if bool(kept.all()) else kept)
    longest = int(kept.sum(dim=1).max()) if len(kept) else kept.shape[1]
    position = kept.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
    real = kept.gather(1, position)
    return KeptTokens(_take(states, position), position, None if bool(real.all()) else real)


def at(model: ViT, states: Tensor, images: Tensor, position: Tensor) -> KeptTokens:
    """The tokens at given positions, as many of each image.

    Args:
        model: the model that they are to be run through.
        states: what the first block sees, [image, token, width].
        images: indices of images, which may repeat, [row].
        position: which tokens stay, ascending, [row, kept].
    """
    if families.attends_by_position(model):
        kept = torch.zeros(len(images), states.shape[1], dtype=torch.bool, device=states.device)
        return keep(model, states[images], kept.scatter_(1, position, True))
    return KeptTokens(states[images[:, None], position], position, None)


def tokens_run(model: ViT, tokens: int, kept: int) -> int:
    """How many tokens of an image the model is run on when it keeps so many."""
    return tokens if families.attends_by_position(model) else kept


def _everywhere(kept: Tensor) -> Tensor:
    return torch.arange(kept.shape[1], device=kept.device).expand(kept.shape)


def _take(states: Tensor, position: Tensor) -> Tensor:
    """Tokens [image, kept, width] at positions [image, kept]."""
    return states.gather(1, position[..., None].expand(-1, -1, states.shape[-1]))


def run(model: ViT, lens: Lens, tokens: KeptTokens) -> tuple[Tensor, Tensor]:
    """The last block's states of kept tokens, [image, kept, width], and the model's output, [image, class]."""
    states = last_states(model, tokens.states, tokens.attention_mask)
    return states, lens.output(states, tokens.real)
