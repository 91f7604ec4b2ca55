"""The results of a run in words: figures, tables and pages, and what is left out because masks are missing."""

from collections.abc import Iterator

from classlens.check.text import entry
from classlens.config.plan import Plan


def lines(plan: Plan) -> Iterator[str]:
    """Yield the names of a run's results, by letter."""
    for title, found in (("figures", plan.figures()), ("tables", plan.tables())):
        yield entry(title, [f"{letter} {name}" for letter, names in found.items() for name in names] or "none")
    yield entry("pages", "explorer, report")
    for dataset, items in plan.without_masks().items():
        if items:
            yield entry("left out", [*(f"{item.letter} {item.name}" for item in items), f"because {dataset} has no masks"])
