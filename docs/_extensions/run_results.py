"""The directives `result-figure` and `result-table`: figures and tables of a run, by default of the demo."""

import csv
import os
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.patches import Figure
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.util.docutils import SphinxDirective


class ResultFigure(Figure):
    """A figure of the run, by its name. The content of the directive is the caption."""

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        path = file_of(env, f"figures/{self.arguments[0]}.svg")
        self.arguments[0] = os.path.relpath(path, env.doc2path(env.docname).parent).replace(" ", r"\ ")
        return super().run()


class ResultTable(SphinxDirective):
    """Columns of a table of the run, by its name: texts, and rounded numbers with their intervals if the table has them."""

    required_arguments = 1
    option_spec: ClassVar = {
        "columns": directives.unchanged_required,
        "digits": directives.nonnegative_int,
        "rows": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        path = file_of(self.env, f"tables/{self.arguments[0]}.csv")
        columns, digits = self.options["columns"].split(), self.options.get("digits", 1)
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[_cell(row, column, digits) for column in columns] for row in csv.DictReader(file)][: self.options.get("rows")]
        lines = [[column.replace("_", " ") for column in columns], ["---"] * len(columns), *rows]
        return self.parse_text_to_nodes("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(row: dict[str, str], column: str, digits: int) -> str:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    interval = f" ({_rounded(low, digits)} to {_rounded(high, digits)})" if low and high else ""
    return _rounded(row[column], digits) + interval


def _rounded(text: str, digits: int) -> str:
    """Return a number with `digits` decimals, or with one significant digit if all decimals would be 0. Return other texts unchanged."""
    try:
        value = float(text)
    except ValueError:
        return text
    if text.isdigit():
        return text
    return f"{value:.{digits}f}" if value == 0 or abs(value) >= 0.5 / 10**digits else f"{value:.1g}"


def file_of(env: BuildEnvironment, name: str) -> Path:
    """Return the path of a file of the run, and make the page depend on it.

    Raises:
        ConfigError: the file does not exist.
    """
    path = Path(env.config.results) / name
    if not path.is_file():
        raise ConfigError(f"{path} is missing: run `make demo` first, or give another run's folder with -D results=FOLDER")
    env.note_dependency(str(path))
    return path


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives. Sphinx calls this function."""
    app.add_config_value("results", "", "env", str)
    app.add_directive("result-figure", ResultFigure)
    app.add_directive("result-table", ResultTable)
    return {"parallel_read_safe": True}
