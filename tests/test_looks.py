"""Every figure of the catalogue is legible as printed, and with any colour vision."""

import re
from itertools import combinations

import numpy as np
import pytest
from colour_vision import VISIONS, distance
from conftest import REPOSITORY
from figure_checks import LEAST_DISTANCE, Look, entries, figure_of, legends, look_of, misplaced, series, texts
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.config.catalogue import FIGURES
from classlens.figures import canvas

PRINTED = {"single": 3.5, "double": 5.5}
"""Widths in print: a column, and the text of a NeurIPS page, inches."""
LEAST_SIZE = 7
"""Size of the smallest text in print, points."""
NAMES = [item.name for item in FIGURES]
EACH = pytest.mark.parametrize("name", NAMES)
EVERY = pytest.mark.parametrize(("name", "width"), [(name, width) for name in NAMES for width in PRINTED])


@EVERY
def test_texts_are_large_enough_in_print(name: str, width: str) -> None:
    figure = figure_of(name, width)
    scale = PRINTED[width] / figure.get_figwidth()
    small = {text.get_text(): text.get_fontsize() * scale for text in texts(figure) if text.get_fontsize() * scale < LEAST_SIZE}
    assert not small


@EVERY
def test_texts_and_legends_have_places_of_their_own(name: str, width: str) -> None:
    assert misplaced(figure_of(name, width)) == []


@EACH
def test_legends_are_as_large_as_ticks(name: str) -> None:
    figure = figure_of(name, "double")
    ticks = [label.get_fontsize() for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for legend in legends(figure):
        assert min(text.get_fontsize() for text in legend.get_texts()) >= max(ticks)


@EACH
def test_the_number_of_images_or_classes_is_in_a_title(name: str) -> None:
    assert [text for text in texts(figure_of(name, "double")) if re.search(r"n\s=\s\d+", text.get_text())]


@EACH
def test_intervals_and_stars_are_explained(name: str) -> None:
    figure = figure_of(name, "double")
    marks = {artist.get_gid() for axes in figure.axes for artist in axes.collections}
    explained = {label for legend in legends(figure) for label, _ in entries(legend)}
    assert ("95 % interval" in explained) == (canvas.INTERVAL in marks)
    starred = {str(line.get_label()) for axes in figure.axes for line in axes.lines if line.get_marker() == "*"}
    assert starred == {label for label in explained if label.startswith("p < 0.05, ")}
    caption = (REPOSITORY / "workflow" / "report" / "figures" / f"{name}.rst").read_text(encoding="utf-8")
    assert bool(re.search(r"\bA\s+star\s+marks", caption)) == bool(starred)
    assert "95 % interval" in " ".join(caption.split()).replace("intervals", "interval") or canvas.INTERVAL not in marks


@EACH
def test_numbers_have_minus_signs_and_images_no_file_names(name: str) -> None:
    for text in texts(figure_of(name, "double")):
        assert not re.search(r"(^|[\s(])-\d|n\d{8}|\.jpe?g|\.png|\bval_", text.get_text(), re.IGNORECASE)


def confused(looks: dict[str, Look], vision: str) -> list[tuple[str, str]]:
    return [(one, other) for one, other in combinations(looks, 2) if not looks[one].differs(looks[other], vision)]


@pytest.mark.parametrize("vision", VISIONS)
@EACH
def test_what_a_legend_tells_apart_looks_different(name: str, vision: str) -> None:
    figure = figure_of(name, "double")
    for legend in legends(figure):
        assert confused(dict(entries(legend)), vision) == []
    for axes in figure.axes:
        assert confused({f"{label} {colour}": look for (label, colour), look in series(axes).items()}, vision) == []


@EACH
def test_an_interval_surrounds_its_line(name: str) -> None:
    for axes in figure_of(name, "double").axes:
        bands = [area for area in axes.collections if area.get_gid() == canvas.INTERVAL and isinstance(area, PolyCollection)]
        for area in bands:
            assert [line for line in axes.lines if to_rgb(line.get_color()) == to_rgb(area.get_facecolor()[0][:3]) and inside(line, area)]


def inside(line: Line2D, area: PolyCollection) -> bool:
    """Return whether the points of a line lie between the ends of an interval."""
    corners = area.get_paths()[0].vertices
    points = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    spans = [corners[np.isclose(corners[:, 0], x), 1] for x, _ in points]
    return all(len(span) and span.min() <= y <= span.max() for (_, y), span in zip(points, spans, strict=True))


@pytest.mark.parametrize("vision", VISIONS)
def test_eight_models_look_different(vision: str) -> None:
    with canvas.styled():
        axes = Figure().add_subplot()
        cycle = [entry["color"] for entry in canvas.mpl.rcParams["axes.prop_cycle"]]
        looks = [canvas.Look(cycle[number % len(cycle)], number) for number in range(8)]
        lines = {str(look.number): look_of(axes.plot([0, 1], color=look.colour, **look.marker)[0]) for look in looks}
    assert confused(lines, vision) == []
    assert len({look.hatch for look in looks}) == 8


@pytest.mark.parametrize("vision", VISIONS)
def test_the_signs_of_relevance_look_different(vision: str) -> None:
    against, neither, for_it = (np.array(canvas.DIVERGING(place)[:3]) for place in (0.0, 0.5, 1.0))
    for one, other in combinations((against, neither, for_it), 2):
        assert distance(one, other, vision) >= LEAST_DISTANCE


def test_colours_that_look_alike_to_some_are_found() -> None:
    red, green = Look(to_rgb("#c04000"), ("line",)), Look(to_rgb("#708000"), ("line",))
    assert [vision for vision in VISIONS if not red.differs(green, vision)]
    assert red.differs(green, "normal")
    assert red.differs(Look(green.colour, ("area",)), "deuteranopia")
