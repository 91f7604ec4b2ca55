"""The directive `modules`, the documentation of some modules of the library, from docstrings as the code writes them.

Examples stand indented after an empty line there, and a sentence about a constant may have a colon.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Modules(SphinxDirective):
    """A heading and the documentation of each module that is named, one a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in self.content]
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def prepare(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Mark what is code, and keep napoleon from taking what is before a colon in a constant's first line for its type."""
    if what in ("attribute", "data"):
        lines[:1] = lines[0].split(" ", 1)
    lines[:] = as_code(lines)


def as_code(lines: list[str]) -> list[str]:
    """Lines with `::` before what is indented after an empty line, unless more of the same depth stands before it."""
    marked: list[str] = []
    for line in lines:
        before = next((other for other in reversed(marked) if other), "")
        if line.startswith("    ") and marked and not marked[-1] and not before.startswith(" "):
            marked += ["::", ""]
        marked.append(line)
    return marked


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", prepare, priority=400)  # before napoleon reads the sections
    return {"parallel_read_safe": True}
