"""Whether relevance maps find the object: their agreement with the masks.

Beyond the paper; the measures are those of Chefer, Gur & Wolf, ICCV 2021; methods, section 9. A map is enlarged to the model's input by
bilinear interpolation, and what is above its mean is called object.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class Score:
    """How one map agrees with one mask; pixels that are to be ignored are left out.

    Attributes:
        pixels: pixels that count.
        right: pixels that the thresholded map calls what they are.
        object_both, object_either: pixels that map and mask both call object, and that either does.
        rest_both, rest_either: the same of what is not object.
        average_precision: of the map as a score of its pixels.
        hit: whether the most relevant pixel shows the object (pointing game).
        share: share of the map's positive part that lies on the object; None where nothing is positive.
    """

    pixels: int
    right: int
    object_both: int
    object_either: int
    rest_both: int
    rest_either: int
    average_precision: float
    hit: bool
    share: float | None

    @classmethod
    def of(cls, values: np.ndarray, is_object: np.ndarray, counts: np.ndarray) -> "Score":
        """From an enlarged map and a mask.

        Args:
            values: relevance, [height, width].
            is_object: bool [height, width], true somewhere where `counts`.
            counts: pixels that are not to be ignored, bool [height, width].
        """
        scores, truth = values[counts], is_object[counts]
        found = scores > scores.mean()
        positive = scores.clip(min=0)
        return cls(
            pixels=len(scores),
            right=int((found == truth).sum()),
            object_both=int((found & truth).sum()),
            object_either=int((found | truth).sum()),
            rest_both=int((~found & ~truth).sum()),
            rest_either=int((~found | ~truth).sum()),
            average_precision=average_precision(scores, truth),
            hit=bool(truth[scores.argmax()]),
            share=float(positive[truth].sum() / positive.sum()) if positive.any() else None,
        )


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the true ones of the precision among all that score at least as much.

    Args:
        scores: any real numbers, [item].
        truth: bool [item], true somewhere.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.nonzero(np.diff(scores[order]))[0], len(scores) - 1)  # equal scores are drawn together
    recalled = np.diff(hits[last], prepend=0)
    return float((recalled * hits[last] / (last + 1)).sum() / truth.sum())


def enlarge(maps: np.ndarray, grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Maps [map, image token] of a grid of patches as images [map, height, width]."""
    images = torch.from_numpy(maps).float().view(-1, 1, *grid)
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
