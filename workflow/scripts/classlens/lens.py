"""Projection of hidden states onto the class embedding, and the rank of the true class.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3. See docs/concepts.md.
"""

import torch
from timm.layers import DiffAttention
from torch import Tensor, nn

from classlens.compute.transfer import rarely
from classlens.errors import InputError
from classlens.trace import ViT

MOST_MAGNIFIED = 100
"""Factor by which `Lens.of_difference` may magnify rounding errors: those of float16 states are larger."""
ADDITIVE_PARTS = ("drop_path1", "drop_path2", "attn.proj", "mlp.fc2")
"""Modules that a block needs in order to add an attention and an MLP contribution to the residual stream."""


class ClassHead(nn.Module):
    """Base class of heads that `Lens` accepts besides `nn.Linear`. A head maps hidden states [..., width] to logits [..., class].

    Attributes:
        out_features: number of classes.
    """

    out_features: int


class Lens(nn.Module):
    """A model's own map from hidden states to class logits: `head(fc_norm(norm(x)))` for every token, with the bias of the head.

        lens = Lens.from_model(model)
        logits = lens(trace["resid_post.7"])  # [image, token, width] -> [image, token, class]

    Args:
        norm: the model's final norm.
        fc_norm: the norm before the head. One of the two norms usually does nothing.
        head: the class embedding, a linear map from [..., width] to [..., class], or a `ClassHead`.
        prefix_tokens: number of tokens before the image tokens.
        pooled: whether the model reads its output from the mean of the image tokens instead of from token 0.
        second_head: head of the distillation token, whose logits are averaged with those of token 0.
    """

    def __init__(
        self,
        norm: nn.Module,
        fc_norm: nn.Module,
        head: nn.Module,
        *,
        prefix_tokens: int,
        pooled: bool,
        second_head: nn.Module | None = None,
    ):
        super().__init__()
        self.norm, self.fc_norm, self.head, self.second_head = norm, fc_norm, head, second_head
        self.prefix_tokens, self.pooled = prefix_tokens, pooled

    @classmethod
    def from_model(cls, model: ViT) -> "Lens":
        """Return the lens of a timm model. The lens shares the model's parameters.

        Raises:
            InputError: the method cannot project the model's hidden states (`refusal`).
        """
        check(model, type(model).__name__)
        return cls(
            getattr(model, "norm", nn.Identity()),
            getattr(model, "fc_norm", nn.Identity()),
            model.head,
            prefix_tokens=model.num_prefix_tokens,
            pooled=model.global_pool == "avg",
            second_head=getattr(model, "head_dist", None),
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return logits [..., class] of hidden states [..., width], for each token separately."""
        return self.head(self.fc_norm(self.norm(states)))

    @property
    def is_linear_but_for_scale(self) -> bool:
        """Return whether the lens is linear but for the division by each state's standard deviation (`of_difference`)."""
        norms = [norm for norm in (self.norm, self.fc_norm) if not isinstance(norm, nn.Identity)]
        return isinstance(self.head, nn.Linear) and len(norms) == 1 and isinstance(norms[0], nn.LayerNorm)

    def of_difference(self, minuend: Tensor, subtrahend: Tensor, logits_of_minuend: Tensor, logits_of_subtrahend: Tensor) -> Tensor:
        """Return the logits of `minuend - subtrahend` from the logits of both, without a further product with the class embedding.

        With a standard deviation `s(x)` and the logits `c` of a state of zeros, `s(x) (lens(x) - c)` is linear in x. So
        `lens(a - b) = c + (s(a) (lens(a) - c) - s(b) (lens(b) - c)) / s(a - b)`. This magnifies rounding errors by `s(a) / s(a - b)`.
        Where a state has a larger factor than `MOST_MAGNIFIED`, the product is made after all.

        Args:
            minuend: hidden states a, [..., width].
            subtrahend: hidden states b, of the same shape.
            logits_of_minuend: `lens(a)`, [..., class].
            logits_of_subtrahend: `lens(b)`, [..., class].
        """
        difference = minuend - subtrahend
        inverse = self._inverse_deviation(difference)
        first, second = (inverse / self._inverse_deviation(states) for states in (minuend, subtrahend))
        if first.numel() and rarely(torch.maximum(first, second).amax() > MOST_MAGNIFIED):
            return self(difference)
        of_zeros = self(minuend.new_zeros(1, minuend.shape[-1]))[0]
        return (logits_of_minuend * first).addcmul_(logits_of_subtrahend, -second).addcmul_(of_zeros, 1 - first + second)

    def _inverse_deviation(self, states: Tensor) -> Tensor:
        """Return the factor by which the norm multiplies each state, [..., 1]: with its eps, 1 / standard deviation."""
        norm = self.fc_norm if isinstance(self.norm, nn.Identity) else self.norm
        assert isinstance(norm, nn.LayerNorm)  # is_linear_but_for_scale
        return torch.native_layer_norm(states, list(norm.normalized_shape), None, None, norm.eps)[2]

    def output(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the model's output [image, class] from the last block's hidden states [image, token, width].

        Args:
            states: hidden states.
            real: False for tokens that the mean over image tokens leaves out, such as padding tokens, bool [image, token]; None for no such
                tokens. A model that reads its output from token 0 ignores it.
        """
        states = self.norm(states)
        if self.pooled:
            return self.head(self.fc_norm(_mean(states[:, self.prefix_tokens :], None if real is None else real[:, self.prefix_tokens :])))
        logits = self.head(self.fc_norm(states[:, 0]))
        if self.second_head is None:
            return logits
        return (logits + self.second_head(self.fc_norm(states[:, 1]))) / 2


def refusal(model: nn.Module) -> str | None:
    """Return the reason why the method cannot project a model's hidden states, or None if it can."""
    found: ViT = model
    if not all(hasattr(model, part) for part in ("blocks", "patch_embed", "num_prefix_tokens")):
        return "it is not a Vision Transformer with `blocks`"
    if not len(found.blocks):
        return "it has no blocks"
    if getattr(model, "attn_pool", None) is not None:
        return (
            "its output is pooled by attention and an MLP, so it is no sum over tokens: use a version that takes the mean of the image "
            "tokens (such as `vit_base_patch16_siglip_gap_224`) with a class embedding"
        )
    if isinstance(getattr(model, "head", None), nn.Identity):
        return "it has no head: give it a class embedding (in a config, `class_embedding: {fit: linear}` fits one)"
    if not isinstance(getattr(model, "head", None), nn.Linear | ClassHead):
        return "its head is not one linear map (class embedding)"
    if found.global_pool not in ("token", "avg"):
        return f"its output is not one token or the mean of the image tokens (global_pool={found.global_pool!r})"
    if getattr(model, "pool_include_prefix", False):
        return "it pools over prefix tokens too"
    for part in ADDITIVE_PARTS:
        try:
            found.blocks[0].get_submodule(part)
        except AttributeError:
            return f"its blocks have no {part}: they do not add an attention and an MLP contribution to the residual stream"
    if isinstance(found.blocks[0].attn, DiffAttention):
        return "it has differential attention, whose output is not a weighted sum of values"
    return None


def check(model: nn.Module, name: str) -> None:
    """Raise an InputError with the reason if the method cannot project a model's hidden states."""
    if reason := refusal(model):
        raise InputError(f"model {name} is refused: {reason}")


def _mean(states: Tensor, real: Tensor | None) -> Tensor:
    """Return the mean over real tokens, [image, width]."""
    if real is None:
        return states.mean(dim=1)
    weight = real.to(states.dtype)[..., None]
    return (states * weight).sum(dim=1) / weight.sum(dim=1)


def rank(logits: Tensor, classes: Tensor, ties_rank_first: bool = False) -> Tensor:
    """Return the rank of each image's class at each token; 0 is first.

    The rank is the number of classes with a larger logit, plus the number of classes with an equal logit and a smaller index. Argmax breaks
    ties in the same way. If all logits of a hidden state are equal, its class identifiability and identifiability rate over balanced
    classes are therefore at the chance level.

    Args:
        logits: [image, ..., class].
        classes: class index of each image, [image].
        ties_rank_first: count larger logits only, as published, so that all tied classes have the best rank of the tie.

    Returns:
        int64 [image, ...].

    Raises:
        InputError: a logit is NaN.
    """
    logits = logits.detach()
    _refuse_nan(logits)
    index = classes.view(-1, *(1,) * (logits.dim() - 1))
    own = logits.gather(-1, index.expand(*logits.shape[:-1], 1))
    ahead = torch.empty_like(logits, dtype=torch.float32)  # 0 or 1; the CPU takes several times longer to make and add bools
    ranks = torch.gt(logits, own, out=ahead).sum(dim=-1)
    if not ties_rank_first:
        before = torch.arange(logits.shape[-1], device=logits.device) < index
        ranks += torch.eq(logits, own, out=ahead).mul_(before.to(ahead.dtype)).sum(dim=-1)
    return ranks.long()


def largest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest logits and their classes, in descending order. Among equal logits, the class with the smaller index comes first.

    Args:
        logits: [..., class].
        count: number of logits to return; all logits if there are fewer classes.

    Returns:
        logits and int64 classes, each [..., count].

    Raises:
        InputError: a logit is NaN.
    """
    _refuse_nan(logits)
    count = min(count, logits.shape[-1])
    if logits.device.type != "cpu" and logits.element_size() <= 4:
        return _largest_by_keys(logits, count)
    values, classes = logits.topk(min(count + 1, logits.shape[-1]), dim=-1)  # one more, to detect ties at the end
    tied = (values[..., 1:] == values[..., :-1]).any(dim=-1)
    if tied.any():  # rare; the order of ties in `topk` is undefined
        ordered = logits[tied].sort(dim=-1, descending=True, stable=True)
        values[tied], classes[tied] = (part[:, : values.shape[-1]] for part in (ordered.values, ordered.indices))
    return values[..., :count], classes[..., :count]


def _largest_by_keys(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest logits and their classes on a GPU, where the CPU would have to wait to see whether there are ties.

    The bits of each logit, in the order of the logits, and its class make one integer. No two of these are equal.
    """
    bits = (logits.float() + 0.0).view(torch.int32)  # -0.0, which equals 0.0, becomes 0.0
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # of negative numbers, the larger bits are the smaller number
    last = logits.shape[-1] - 1
    keys = (ascending.long() << 32) + torch.arange(last, -1, -1, device=logits.device)
    classes = last - (keys.topk(count, dim=-1).values & 0xFFFFFFFF)
    return logits.gather(-1, classes), classes


def _refuse_nan(logits: Tensor) -> None:
    """Raise an InputError if a logit is NaN, which would rank first because no comparison with NaN is true."""
    if logits.numel() and rarely(logits.amax().isnan()):
        raise InputError("a logit is NaN: the model's weights or the hidden states are damaged")
