"""Axes and colour scales of maps of blocks and heads, shared by several figures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

MOST_TICKS = 6
"""Maximum number of labels of blocks or heads."""


def axes_of_heads(axes: Axes, blocks: int, heads: int, cell: tuple[int, int]) -> None:
    """Label cells of some rows and columns by head and block; of many blocks or heads, only every second one, and so on."""
    for number, size, axis in ((blocks, cell[1], axes.xaxis), (heads, cell[0], axes.yaxis)):
        shown = np.arange(0, number, -(-number // MOST_TICKS))
        middle = (max(size - 1, 1) - 1) / 2  # a gap ends each cell of several patches
        axis.set_ticks(shown * size + middle, [str(index + 1) for index in shown])
    axes.set_xlabel("block")
    axes.set_ylabel("head")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def scale(figure: Figure, drawn: AxesImage, axes: Axes, label: str) -> None:
    """Draw the colour scale of a map below it."""
    ticks = MaxNLocator(4)  # a fixed maximum: tick labels set the scale's size, and if size also set ticks, the layout would not converge
    figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9, aspect=25, ticks=ticks).set_label(label)
