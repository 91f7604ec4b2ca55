"""Grad-CAM: relevance of image tokens by their states, weighted by the mean gradient of each channel.

Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based Localization, ICCV 2017. See
docs/analyses/relevance.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from classlens.analyses.class_gradients import class_gradients
from classlens.lens import Lens
from classlens.trace import Trace, ViT


def grad_cam(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor]) -> Tensor:
    """Return Grad-CAM's maps for several classes, [wanted, image, image token], at the output of the last block but one.

    The states of the last block are not used, because a model with [CLS] has no gradient at their image tokens.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each map.

    Returns:
        Maps without negative values; NaN for a model with one block.
    """
    if len(model.blocks) < 2:
        return torch.full((len(classes), len(images), model.patch_embed.num_patches), torch.nan, device=images.device)
    states = torch.empty(0)

    def start(found: Tensor) -> Tensor:
        nonlocal states
        torch.set_grad_enabled(True)
        states = found.detach().requires_grad_()
        return states

    with torch.no_grad(), Trace(model, edit={f"resid_post.{len(model.blocks) - 2}": start}):
        output = model(images)
        gradients = class_gradients(output, classes, [states])
    channels = [gradient[:, lens.prefix_tokens :].mean(dim=1, keepdim=True) for (gradient,) in gradients]
    return torch.stack([(weights * states.detach()[:, lens.prefix_tokens :]).sum(dim=-1).clamp(min=0) for weights in channels])
