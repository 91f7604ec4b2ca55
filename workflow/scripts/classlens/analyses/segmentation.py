"""Agreement of relevance maps with masks.

A map finds the object if its large values lie on the object's mask. Maps are enlarged to the model's input by bilinear interpolation, and
pixels above a map's mean are called object.

Vilas et al. have no such scores. The measures are those of Chefer, Gur & Wolf, ICCV 2021. See docs/analyses/relevance.md.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class Score:
    """Agreement of one map with one mask, without ignored pixels.

    Attributes:
        pixels: number of pixels that count.
        right: number of pixels that the thresholded map labels correctly.
        object_both, object_either: numbers of pixels that both map and mask call object, and that at least one of them calls object.
        rest_both, rest_either: the same numbers for pixels that are not object.
        average_precision: average precision of the map as a score of pixels.
        hit: whether the most relevant pixel lies on the object (pointing game); None if all pixels are equal.
        share: share of the map's positive values that lies on the object; None if no value is positive.
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
        """Return the score of an enlarged map against a mask.

        Args:
            values: relevance, [height, width].
            is_object: bool [height, width]. At least one object pixel must count.
            counts: False for ignored pixels, bool [height, width].
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
    """Return maps that do not depend on the image, [image token] by name, as baselines for the scores of the methods.

    `background` calls no pixel object; its average precision is the object's share of the pixels. `centre` is a Gaussian around the middle
    of the image, with a standard deviation of a quarter of each side.

    Args:
        grid: rows and columns of patches.
    """
    rows, columns = (np.square((np.arange(size) + 0.5) / size - 0.5) for size in grid)
    centre = np.exp(-(rows[:, None] + columns) / (2 * 0.25**2))
    return {"background": np.zeros(grid[0] * grid[1], np.float32), "centre": centre.ravel().astype(np.float32)}


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean, over true items, of the precision among all items with at least the same score.

    Args:
        scores: any real numbers, [item].
        truth: True for true items, bool [item]. There must be at least one.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.nonzero(np.diff(scores[order]))[0], len(scores) - 1)  # items of equal score count together
    recalled = np.diff(hits[last], prepend=0)
    return float((recalled * hits[last] / (last + 1)).sum() / truth.sum())


def enlarge(maps: np.ndarray, grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return maps [map, image token] on a grid of patches as images [map, height, width]."""
    images = torch.from_numpy(maps).float().view(-1, 1, *grid)
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
