"""The directives `rules` and `rule-graph`: the workflow's rules, as Snakemake reads them."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from _extensions import rule_graph
from _extensions.rule_graph import anchor
from classlens.config.catalogue import FIGURES, TABLES

REPOSITORY = Path(__file__).parent.parent.parent
LETTERS = {f"{kind}_{item.name}": item.letter for kind, items in (("figure", FIGURES), ("table", TABLES)) for item in items}


@cache
def rules() -> list[dict[str, Any]]:
    """Return all rules, from the program `rules.py`."""
    done = subprocess.run([sys.executable, Path(__file__).with_name("rules.py")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def sources() -> list[Path]:
    """Return the files of rules."""
    return [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]


def introduction(file: str) -> str:
    """Return the comment at the top of a file of rules."""
    lines = (REPOSITORY / file).read_text(encoding="utf-8").splitlines()
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:count])


def described(rule: dict[str, Any]) -> list[str]:
    """Return the lines about one rule, with its heading."""
    lines = [f"({anchor(rule['name'])})=", f"### {rule['name']}", "", f"{rule['makes']}.", ""]
    lines += [f":Program: `workflow/scripts/{rule['program']}`"]
    lines += [f":{title}: {_paths(rule[key])}" for title, key in (("Reads", "inputs"), ("Writes", "outputs")) if rule[key]]
    needed = ", ".join(f"[{name}](#{anchor(name)})" for name in rule["after"])
    lines += [f":After: {needed}"] if needed else []
    return [*lines, ""]


def _paths(paths: list[str]) -> str:
    return ", ".join(f"`{path.removeprefix('results/{run}/')}`" for path in paths)


def markdown(found: list[dict[str, Any]]) -> str:
    """Return Markdown with a heading per file and per rule, and a list of the targets without a program."""
    lines: list[str] = []
    for file in dict.fromkeys(rule["file"] for rule in found if rule["program"]):
        lines += [f"## {file}", "", introduction(file), ""]
        for rule in found:
            lines += described(rule) if rule["file"] == file and rule["program"] else []
    targets = [f"- `{rule['name']}`: {rule['makes']}" for rule in found if not rule["program"]]
    return "\n".join([*lines, "## Targets", "", "These names request the files of other rules.", "", *targets, ""])


class Rules(SphinxDirective):
    """The list of all rules of the workflow."""

    def run(self) -> list[nodes.Node]:
        for path in sources():
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(markdown(rules()), allow_section_headings=True)


class RuleGraph(SphinxDirective):
    """The graph of rules."""

    def run(self) -> list[nodes.Node]:
        for path in sources():
            self.env.note_dependency(str(path))
        drawn = [rule for rule in rules() if rule["program"]]
        graph = rule_graph.svg({rule["name"]: (_label(rule["name"]), rule["file"], rule["after"]) for rule in drawn})
        return [nodes.raw("", graph, format="html")]


def _label(name: str) -> str:
    return f"{LETTERS[name]} {name.partition('_')[2]}" if name in LETTERS else name


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives. Sphinx calls this function."""
    app.add_directive("rules", Rules)
    app.add_directive("rule-graph", RuleGraph)
    return {"parallel_read_safe": True}
