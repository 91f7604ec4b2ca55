"""The directive `modules`: the documentation of library modules, from their docstrings.

The extension adapts the docstrings to Sphinx: it marks indented examples as code, and keeps colons in the descriptions of constants.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Modules(SphinxDirective):
    """A heading and the documentation for each listed module, one name per line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in self.content]
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def prepare(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Mark code, and stop napoleon from reading the text before a colon in a constant's first line as its type."""
    if what in ("attribute", "data", "property"):
        lines[:1] = lines[0].split(" ", 1)
    lines[:] = as_code(lines)


def as_code(lines: list[str]) -> list[str]:
    """Return the lines with `::` before each indented block that follows an empty line and a line without indentation."""
    marked: list[str] = []
    for line in lines:
        before = next((other for other in reversed(marked) if other), "")
        if line.startswith("    ") and marked and not marked[-1] and not before.startswith(" "):
            marked += ["::", ""]
        marked.append(line)
    return marked


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive. Sphinx calls this function."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", prepare, priority=400)  # before napoleon reads the sections
    return {"parallel_read_safe": True}
