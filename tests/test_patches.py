"""What patches have, drawn over the photograph."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from classlens.figures import patches

PIXELS = np.zeros((40, 60, 3), np.uint8)  # two rows of three patches, 20 pixels each
VALUES = np.array([[1.0, -2.0, 0.0], [0.5, 4.0, -4.0]])


@pytest.fixture
def axes() -> Axes:
    return plt.figure().add_subplot()


def test_relevance_has_the_hue_of_its_sign_and_the_opacity_of_its_size(axes: Axes) -> None:
    patches.relevance(axes, PIXELS, VALUES)
    colours = axes.images[1].get_array()
    np.testing.assert_allclose(colours[..., 3], patches.MAX_OPACITY * np.abs(VALUES) / 4)
    red, blue = colours[..., 0], colours[..., 2]
    assert ((red > blue) == (VALUES > 0))[VALUES != 0].all()


def test_maps_of_one_image_share_their_scale(axes: Axes) -> None:
    patches.relevance(axes, PIXELS, VALUES, largest=8)
    np.testing.assert_allclose(axes.images[1].get_array()[..., 3], patches.MAX_OPACITY * np.abs(VALUES) / 8)


def test_the_photograph_under_a_map_is_grey(axes: Axes) -> None:
    patches.relevance(axes, np.full((40, 60, 3), (255, 0, 0), np.uint8), VALUES)
    red, green, blue, _ = np.moveaxis(axes.images[0].to_rgba(axes.images[0].get_array()), -1, 0)
    assert np.array_equal(red, green) and np.array_equal(green, blue)


def test_the_outline_runs_around_the_object(axes: Axes) -> None:
    patches.outline(axes, PIXELS, np.array([[False, True, True], [False, False, False]]))
    lines = {tuple(sorted(map(tuple, segment))) for segment in axes.collections[-1].get_segments()}
    left, middle, right, top, bottom = 19.5, 39.5, 59.5, -0.5, 19.5
    level = {((one, y), (other, y)) for y in (top, bottom) for one, other in ((left, middle), (middle, right))}
    assert lines == level | {((x, top), (x, bottom)) for x in (left, right)}


def test_a_map_without_relevance_is_drawn(axes: Axes) -> None:
    patches.relevance(axes, PIXELS, np.zeros((2, 3)))
    assert not axes.images[1].get_array()[..., 3].any()


def test_the_veil_covers_the_photograph(axes: Axes) -> None:
    veil = patches.shade(axes, PIXELS, VALUES, -4, 4)
    assert list(veil.get_extent()) == list(axes.images[0].get_extent())
    assert veil.get_clim() == (-4, 4)


def test_words_are_in_the_middle_of_their_patches(axes: Axes) -> None:
    patches.write(axes, PIXELS, np.array([["a", "b", "c"], ["d", "e", "long name"]]), size=5)
    last = axes.texts[-1]
    assert last.get_text() == "long\nname"
    assert last.get_position() == (49.5, 29.5)
