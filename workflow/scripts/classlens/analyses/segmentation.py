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
        hit: whether the most relevant pixel shows the object (pointing game); None where all pixels are equal.
        share: share of the map's positive part that lies on the object; None where nothing is positive.
    """

    pixels: int
    right: int
    object_both: int
    object_either: int
    rest_both: int
    rest_either: int
    average_precision: float
    hit: bool | None
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
            hit=bool(truth[scores.argmax()]) if np.ptp(scores) else None,
            share=float(positive[truth].sum() / positive.sum()) if positive.any() else None,
        )


def trivial_maps(grid: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return maps that look at no image, [image token] by name, which stand beside the scores of the methods (methods, section 14.8).

    `background` calls nothing object: its average precision is the object's share. `centre` is a Gaussian around the middle of the image,
    whose standard deviation is a quarter of each side.

    Args:
        grid: rows and columns of patches.
    """
    rows, columns = (np.square((np.arange(size) + 0.5) / size - 0.5) for size in grid)
    centre = np.exp(-(rows[:, None] + columns) / (2 * 0.25**2))
    return {"background": np.zeros(grid[0] * grid[1], np.float32), "centre": centre.ravel().astype(np.float32)}


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
