"""The graph of rules as SVG: columns from left to right, a colour per file of rules, and a link from each box to its rule."""

import html
from collections import defaultdict

import networkx as nx

ROW, GAP, LETTER, PADDING = 19, 34, 5.5, 6
"""Height of a row, gap between columns, mean width of a letter, and padding of a text, in pixels."""

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#7b61c4",
    "#b5485d",
    "#5a7d2a",
    "#7f7f7f",
    "#2a7f86",
    "#c2185b",
    "#4d4d4d",
)


def anchor(name: str) -> str:
    """Return the anchor of a rule on the page."""
    return f"rule-{name.replace('_', '-')}"


Place = tuple[float, float, float]
"""Left edge, vertical centre and width of a box, in pixels."""


def layers(graph: nx.DiGraph) -> list[list[str]]:
    """Return the rules by column, each to the right of its inputs, in an order with few crossing lines."""
    columns = _columns(graph)
    place = {name: index / len(column) for column in columns for index, name in enumerate(column)}
    for _ in range(20):
        for ordered, near in ((columns[::-1], graph.successors), (columns, graph.predecessors)):
            for column in ordered:
                mean = {name: _mean([place[other] for other in near(name)], place[name]) for name in column}
                column.sort(key=lambda name: (mean[name], place[name]))
                place |= {name: (index + 0.5) / len(column) for index, name in enumerate(column)}
    return columns


def _columns(graph: nx.DiGraph) -> list[list[str]]:
    """Return the rules by number of steps before them. Figures and tables share a column; rules that need them come last."""
    steps = {name: step for step, layer in enumerate(nx.topological_generations(graph)) for name in layer}
    shown = {name for name in graph if name.startswith(("figure_", "table_"))}
    after = set().union(*(nx.descendants(graph, name) for name in shown)) - shown
    last = max(steps[name] for name in graph if name not in shown | after)
    columns = defaultdict(list)
    for name, step in steps.items():
        columns[last + 1 if name in shown else last + 1 + step if name in after else step].append(name)
    return [columns[step] for step in sorted(columns)]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def places(columns: list[list[str]], labels: dict[str, str]) -> tuple[dict[str, Place], float, float]:
    """Return the place of each box, and the width and height of the graph."""
    height = ROW * max(map(len, columns))
    found, left = {}, 1.0
    for column in columns:
        width = LETTER * max(len(labels[name]) for name in column) + 2 * PADDING
        for index, name in enumerate(column):
            found[name] = (left, height * (index + 0.5) / len(column), width)
        left += width + GAP
    return found, left - GAP + 1, height


def svg(rules: dict[str, tuple[str, str, list[str]]]) -> str:
    """Return the graph as HTML with SVG.

    Args:
        rules: label, file and required rules of each rule, by name.
    """
    graph = nx.DiGraph([(before, name) for name, (_, _, needed) in rules.items() for before in needed])
    graph = nx.transitive_reduction(graph)
    labels = {name: label for name, (label, _, _) in rules.items()}
    files = list(dict.fromkeys(file for _, file, _ in rules.values()))
    colour = {name: COLOURS[files.index(file) % len(COLOURS)] for name, (_, file, _) in rules.items()}
    found, width, height = places(layers(graph), labels)
    lines = [_line(found[before], found[after], colour[before]) for before, after in sorted(graph.edges)]
    boxes = [_box(name, labels[name], found[name], colour[name]) for name in graph]
    legend = [f'<span style="color: {COLOURS[index % len(COLOURS)]}">■</span> {html.escape(file)}' for index, file in enumerate(files)]
    return (
        f'<div class="rule-graph"><svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Dependencies between rules">'
        f"{''.join(lines)}{''.join(boxes)}</svg><p>{' &#160; '.join(legend)}</p></div>"
    )


def _line(start: Place, end: Place, colour: str) -> str:
    x, y = start[0] + start[2], start[1]
    bend = GAP / 2
    middle = end[0] - bend
    return f'<path d="M{x:.0f} {y:.1f} C{x + bend:.0f} {y:.1f} {middle:.0f} {end[1]:.1f} {end[0]:.0f} {end[1]:.1f}" stroke="{colour}"/>'


def _box(name: str, label: str, place: Place, colour: str) -> str:
    left, middle, width = place
    box = f'<rect x="{left:.0f}" y="{middle - 8:.1f}" width="{width:.0f}" height="16" rx="4" stroke="{colour}"/>'
    text = f'<text x="{left + PADDING:.0f}" y="{middle + 3.5:.1f}">{html.escape(label)}</text>'
    return f'<a href="#{anchor(name)}">{box}{text}</a>'
