"""LeGrad: relevance of image tokens by the gradient of each block's own output with respect to its attention weights.

Source: Bousselham et al., LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity, ICCV 2025. See
docs/analyses/relevance.md.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from classlens.analyses.class_gradients import class_gradients
from classlens.lens import Lens
from classlens.models.families import POST_NORM
from classlens.trace import Edit, Trace, ViT, unfused


def legrad(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> Tensor:
    """Return LeGrad's maps for several classes, [wanted, image, image token], from one forward pass.

    The score of a block is the logit of the mean over all tokens of its output. Its gradient with respect to the block's attention weights
    is clipped at 0, and averaged over heads, queries and blocks. No gradient leaves the block.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each map.
    """
    maps: list[Tensor] = []
    weights = torch.empty(0)

    def start(attention: Tensor) -> Tensor:
        nonlocal weights
        weights = attention.detach().requires_grad_()
        return weights

    def finish(states: Tensor) -> Tensor:
        gradients = class_gradients(block_logits(lens, states), classes, [weights])
        maps.append(torch.stack([gradient.clamp(min=0).mean(dim=(1, 2)) for (gradient,) in gradients]))
        return states.detach()

    hooks = [block.mlp.fc2.register_forward_hook(_by_mean) for block in model.blocks if not isinstance(block, POST_NORM)]
    blocks = range(len(model.blocks))
    edits: dict[str, Edit] = {f"attn_weights.{block}": start for block in blocks}
    edits |= {f"resid_post.{block}": finish for block in blocks}
    try:
        with torch.enable_grad(), unfused(model), Trace(model, edit=edits, stop=f"resid_post.{blocks[-1]}"):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps).mean(dim=0)[..., lens.prefix_tokens :]


def block_logits(lens: Lens, states: Tensor) -> Tensor:
    """Return the model's output, [image, class], if every token had the mean over all tokens of some states [image, token, width]."""
    return lens.output(states.mean(dim=1, keepdim=True).expand(-1, lens.prefix_tokens + 1, -1))


def _by_mean(layer: nn.Linear, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Return the output of a layer whose gradient flows through the mean over tokens only.

    The score depends on the mean of a block's output, and without a norm after the MLP, so on the mean of this layer's input. This saves a
    third of the backward pass.
    """
    mean = functional.linear(inputs[0].mean(dim=1, keepdim=True), layer.weight)
    return output.detach() + (mean - mean.detach())
