"""Integrated gradients: relevance of image tokens by gradients on the way from a baseline to the image.

Source: Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017. See docs/analyses/relevance.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from classlens.analyses.class_gradients import class_gradients
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.trace import ViT

STEPS = 32
"""Number of points between baseline and image."""


def integrated_gradients(model: ViT, lens: Lens, images: Tensor, classes: Sequence[Tensor], baseline: Tensor) -> Tensor:
    """Return integrated gradients for several classes, [wanted, image, image token], summed over the width of the tokens.

    The way is a straight line between tokens after the embedding. Gradients are taken in the middle of `STEPS` equal parts.

    Args:
        model: a model that `token_pruning.check` accepts.
        lens: the model's lens.
        images: [image, 3, height, width].
        classes: wanted class of each image, [image], for each map.
        baseline: tokens at which the way begins, such as `mean_embedding`, [token, width].
    """
    with torch.no_grad():
        way = token_pruning.embed(model, images) - baseline
    summed = [torch.zeros_like(way) for _ in classes]
    with torch.enable_grad():
        for step in range(STEPS):
            tokens = (baseline + way * ((step + 0.5) / STEPS)).requires_grad_()
            output = lens.output(token_pruning.last_states(model, tokens))
            for gradients, (gradient,) in zip(summed, class_gradients(output, classes, [tokens]), strict=True):
                gradients += gradient
    return torch.stack([(way * gradients / STEPS).sum(dim=-1)[:, lens.prefix_tokens :] for gradients in summed])
