"""Overlays on the patches of a photograph: relevance, unsigned values, the outline of an object, and words."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb, to_rgba_array
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from classlens.figures import canvas

MAX_OPACITY = 0.8
"""Opacity of the largest relevance."""

OVERLAY_OPACITY = 0.65
"""Opacity of unsigned values, the same for all of them."""

EDGE = withStroke(linewidth=1.2, foreground="white")

GREY = np.full(3, 0.6)
"""Colour of the photograph in `RELEVANCE`."""
RELEVANCE = LinearSegmentedColormap.from_list(
    "relevance over a photograph",
    [
        tuple(opacity * np.array(to_rgb(colour)) + (1 - opacity) * GREY)
        for colour, opacity in ((canvas.AGAINST, MAX_OPACITY), (canvas.FOR, 0), (canvas.FOR, MAX_OPACITY))
    ],
)
"""Colours of relevance over grey, for a colour bar."""


def relevance(axes: Axes, pixels: np.ndarray, values: np.ndarray, largest: float | None = None) -> None:
    """Draw a photograph in grey, and the relevance of each patch over it: hue by sign, opacity by absolute value.

    Args:
        axes: where to draw.
        pixels: the photograph, uint8 [height, width, 3].
        values: [row, column].
        largest: absolute value with the largest opacity; by default that of the map.
    """
    values = values / max(np.abs(values).max() if largest is None else largest, np.finfo(np.float32).tiny)
    colours = to_rgba_array([canvas.FOR if value > 0 else canvas.AGAINST for value in values.ravel()]).reshape(*values.shape, 4)
    colours[..., 3] = MAX_OPACITY * np.abs(values)
    _grey(axes, pixels)
    axes.imshow(colours, extent=_extent(pixels), interpolation="nearest")


def outline(axes: Axes, pixels: np.ndarray, inside: np.ndarray) -> None:
    """Draw the outline of a group of patches in white with a black edge.

    Args:
        axes: where the photograph is drawn.
        pixels: the photograph, uint8 [height, width, 3].
        inside: whether each patch is in the group, [row, column].
    """
    height, width = np.divide(pixels.shape[:2], inside.shape)
    padded = np.pad(inside, 1)
    upright = [((column, row), (column, row + 1)) for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])]
    level = [((column, row), (column + 1, row)) for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    lines = np.array(upright + level, float).reshape(-1, 2, 2) * (width, height) - 0.5
    for colour, thickness in (("black", 2), ("white", 1)):
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=thickness, capstyle="projecting", clip_on=False))


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
    _grey(axes, pixels)
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


def _grey(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)


def _extent(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Return the edges of the photograph, so that a grid of patches covers it."""
    height, width = pixels.shape[:2]
    return -0.5, width - 0.5, height - 0.5, -0.5
