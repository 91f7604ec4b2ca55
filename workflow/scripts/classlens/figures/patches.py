"""Overlays on the patches of a photograph: relevance, unsigned values, and words."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from classlens.figures import canvas

MAX_OPACITY = 0.8
"""Opacity of the largest relevance."""

OVERLAY_OPACITY = 0.65
"""Opacity of unsigned values, the same for all of them."""

EDGE = withStroke(linewidth=1.2, foreground="white")


def relevance(axes: Axes, pixels: np.ndarray, values: np.ndarray) -> None:
    """Draw a photograph and the relevance of each patch over it, relative to the largest: hue by sign, opacity by absolute value.

    Args:
        axes: where to draw.
        pixels: the photograph, uint8 [height, width, 3].
        values: [row, column].
    """
    values = values / max(np.abs(values).max(), np.finfo(np.float32).tiny)
    colours = colormaps[canvas.DIVERGING](Normalize(-1, 1)(values))
    colours[..., 3] = MAX_OPACITY * np.abs(values)
    axes.imshow(pixels)
    axes.imshow(colours, extent=_extent(pixels), interpolation="nearest")


def shade(axes: Axes, pixels: np.ndarray, values: np.ndarray, low: float, high: float) -> AxesImage:
    """Draw a photograph in grey, and over it a translucent colour for the value of each patch.

    Args:
        axes: where to draw.
        pixels: the photograph, uint8 [height, width, 3].
        values: [row, column].
        low: value at the dark end of the colours.
        high: value at the bright end.

    Returns:
        the overlay, for a colour bar.
    """
    axes.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    return axes.imshow(values, cmap="cividis", vmin=low, vmax=high, alpha=OVERLAY_OPACITY, extent=_extent(pixels), interpolation="nearest")


def write(axes: Axes, pixels: np.ndarray, words: np.ndarray, size: float) -> None:
    """Write words in the middle of each patch, one word per line, with a white outline that keeps them legible on any colour.

    Args:
        axes: where the photograph is drawn.
        pixels: the photograph, uint8 [height, width, 3].
        words: text of each patch, [row, column].
        size: font size, points.
    """
    height, width = np.divide(pixels.shape[:2], words.shape)
    for (row, column), text in np.ndenumerate(words):
        place = ((column + 0.5) * width - 0.5, (row + 0.5) * height - 0.5)
        axes.text(*place, text.replace(" ", "\n"), ha="center", va="center", fontsize=size, path_effects=[EDGE])


def _extent(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Return the edges of the photograph, so that a grid of patches covers it."""
    height, width = pixels.shape[:2]
    return -0.5, width - 0.5, height - 0.5, -0.5
