"""Refinement of a tuned lens: its maps continue from the ridge regression toward the model's output, by gradient descent.

The ridge regression predicts the last block's states. The refinement minimises what the tuned lens is for: the KL divergence of its
probabilities from the model's output.

Source: Belrose et al., arXiv:2303.08112, 2023. See docs/analyses/tuned_lens.md.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from classlens.analyses.tuned_lens import AffineMap, Batches, Division, Maps, divergence, fitting_part, numbered, places
from classlens.lens import Lens
from classlens.progress import progress

MOST_PASSES = 30
"""Maximum number of passes over the images for a map."""
MOST_REFUSALS = 3
"""Number of refused passes after which a map is final. Each one halves the step size."""
STEP = 0.003
"""Size of the first steps, relative to the inverse of the states' root mean square."""
HELD_OUT = 10
"""One in this many images is held out."""

Pairs = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Function that yields batches of states [image, token, width] and of the model's output [image, class]."""


def refined(start: list[AffineMap], lens: Lens, fitted: Pairs, held_out: Pairs) -> AffineMap:
    """Return a map whose divergence on the held-out images is at most that of the best of some maps.

    A pass over the fitted images (Adam) is accepted only if it lowers the divergence on the held-out images. Otherwise the map goes back,
    and the next pass has half the step size.

    Args:
        start: maps to start from; the best one on the held-out images is taken.
        lens: the model's lens.
        fitted: images to descend on.
        held_out: images that decide about each pass.
    """
    losses = [mean_divergence(one, lens, held_out) for one in start]
    least = min(losses)
    best, refusals = start[losses.index(least)], 0
    states, _ = next(iter(fitted()))
    step = STEP / float(states.square().mean().sqrt())
    for _ in range(MOST_PASSES):
        tried = _after_pass(best, lens, fitted, step)
        loss = mean_divergence(tried, lens, held_out)
        if loss < least:
            best, least = tried, loss
            continue
        step, refusals = step / 2, refusals + 1
        if refusals == MOST_REFUSALS:
            break
    return best


def mean_divergence(one: AffineMap, lens: Lens, pairs: Pairs) -> float:
    """Return the mean divergence of translated states from the model's output, over tokens, in nats."""
    with torch.inference_mode():
        found = [divergence(output, lens(one.to(states)(states))) for states, output in pairs()]
    return float(torch.cat([part.flatten() for part in found]).double().mean())


def _after_pass(one: AffineMap, lens: Lens, fitted: Pairs, step: float) -> AffineMap:
    """Return a map after one pass over the fitted images."""
    states, _ = next(iter(fitted()))
    moved = one.to(states)
    parameters = [moved.weight.clone().requires_grad_(), moved.bias.clone().requires_grad_()]
    adam = torch.optim.Adam(parameters, lr=step)
    for states, output in fitted():
        loss = divergence(output, lens(AffineMap(*parameters)(states))).mean()
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        adam.step()
    return AffineMap(*(parameter.detach() for parameter in parameters))


def refine(maps: Maps, lens: Lens, batches: Batches, division: Division, seed: int) -> Maps:
    """Return the refined maps of a model, each from the better of its ridge regression and the identity.

    Args:
        maps: ridge regressions, from `tuned_lens.fit`.
        lens: the model's lens.
        batches: the states.
        division: kinds of tokens and parts of images.
        seed: seed of the choice of held-out images.
    """
    kinds, parts, count = division.kinds, division.parts, division.count
    is_held_out = _held_out(parts, seed)

    def pairs(block: int, part: int, kind: str, wanted: np.ndarray) -> Iterable[tuple[Tensor, Tensor]]:
        chosen = np.where(wanted & (parts == fitting_part(part, count)), 1, 0)
        for first, (states, last) in numbered(batches(block)):
            for is_chosen, of_kind, place in places(kinds, chosen[first : first + len(states)], states.device):
                if is_chosen and of_kind == kind:
                    with torch.no_grad():
                        output = lens.output(last[place[0][:, 0]])
                    yield states[place], output

    result = dict(maps)
    for (part, kind, block), ridge in progress(maps.items(), len(maps), "refinement of the tuned lens", "maps"):
        if is_held_out[parts == fitting_part(part, count)].any():
            start = [ridge, AffineMap.identity(len(ridge.bias))]
            fitted, held_out = (partial(pairs, block, part, kind, wanted) for wanted in (~is_held_out, is_held_out))
            result[part, kind, block] = refined(start, lens, fitted, held_out)
    return result


def _held_out(parts: np.ndarray, seed: int) -> np.ndarray:
    """Return which images are held out, bool [image]: a tenth of each part, but at least one image, and none of a single image."""
    result = np.zeros(len(parts), bool)
    rng = np.random.default_rng(seed)
    for part in np.unique(parts):
        members = rng.permutation(np.flatnonzero(parts == part))
        result[members[: max(1, len(members) // HELD_OUT)]] = len(members) > 1
    return result
