"""Class identifiability, of a rank and by chance.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 3; methods, section 1.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Ranks = TypeVar("Ranks", "Tensor", "np.ndarray", float)


def class_identifiability(ranks: Ranks, num_classes: int) -> Ranks:
    """Class identifiability 1 - rank / C: 1 where the class is first. `chance` is its mean over random rankings.

    Args:
        ranks: any shape, 0 for first.
        num_classes: number C of classes.
    """
    return 1 - ranks / num_classes


def chance(num_classes: int) -> float:
    """Class identifiability of a random ranking: 1 - (C - 1) / (2 C)."""
    return 1 - (num_classes - 1) / (2 * num_classes)
