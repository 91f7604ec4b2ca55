"""Running a model on some of its image tokens: the others are removed after the position embedding, not blackened.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 4.1; methods, section 7. Images that keep different numbers of tokens run
together: shorter ones are padded, and nothing attends to the padding, which gives what removing gives.
"""

from dataclasses import dataclass

from torch import Tensor

from classlens.errors import InputError
from classlens.lens import Lens
from classlens.trace import Trace, ViT


@dataclass(frozen=True)
class KeptTokens:
    """The tokens that some images keep.

    Attributes:
        states: what the first block sees, [image, kept, width].
        position: which token each was, [image, kept].
        real: False where an image keeps fewer than the most, bool [image, kept]; None where all keep as many.
    """

    states: Tensor
    position: Tensor
    real: Tensor | None

    @property
    def attention_mask(self) -> Tensor | None:
        """What may be attended to, bool [image, 1, 1, kept]; None for everything."""
        return None if self.real is None else self.real[:, None, None, :]


def check(model: ViT, name: str) -> None:
    """Raise an InputError for a model whose attention takes no mask, or depends on which positions its tokens have."""
    if type(model).__name__ not in ("VisionTransformer", "VisionTransformerDistilled"):
        raise InputError(
            f"model {name}: attention and token perturbation and deletion are not defined for {type(model).__name__}: "
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
        model: a model of timm's plain Vision Transformer family.
        states: [image, token, width].
        mask: which tokens (last axis) each token (one but last) may attend to, bool, to be broadcast to [image, head, token, token].
    """
    for block in model.blocks:
        states = block(states, attn_mask=mask)
    return states


def keep(states: Tensor, kept: Tensor) -> KeptTokens:
    """The kept tokens of each image, in their order.

    Args:
        states: what the first block sees, [image, token, width].
        kept: which tokens stay, bool [image, token].
    """
    longest = int(kept.sum(dim=1).max()) if len(kept) else kept.shape[1]
    position = kept.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
    real = kept.gather(1, position)
    return KeptTokens(take(states, position), position, None if bool(real.all()) else real)


def take(states: Tensor, position: Tensor) -> Tensor:
    """Tokens [image, kept, width] at positions [image, kept]."""
    return states.gather(1, position[..., None].expand(-1, -1, states.shape[-1]))


def run(model: ViT, lens: Lens, tokens: KeptTokens) -> tuple[Tensor, Tensor]:
    """The last block's states of kept tokens, [image, kept, width], and the model's output, [image, class]."""
    states = last_states(model, tokens.states, tokens.attention_mask)
    return states, lens.output(states, tokens.real)
