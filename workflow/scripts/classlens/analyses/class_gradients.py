"""Gradients of the logits of wanted classes, which several methods of relevance maps need."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_gradients(logits: Tensor, classes: Sequence[Tensor], states: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return the gradients of the wanted logits, summed over images, with respect to each of some states.

    Args:
        logits: [image, class].
        classes: wanted class of each image, [image], for each result.
        states: states that the logits depend on. Their graph is kept.
    """
    return [torch.autograd.grad(logits.gather(1, wanted[:, None]).sum(), states, retain_graph=True) for wanted in classes]
