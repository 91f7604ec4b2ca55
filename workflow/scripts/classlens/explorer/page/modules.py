"""Bundling of JavaScript modules into one script: browsers load no modules from disk, but they run a module inside the page.

All bundled modules share one scope. The bundle drops their comments, spaces, imports and the word `export`, and no two modules may declare
the same name.
"""

import re
from graphlib import TopologicalSorter
from pathlib import Path

from rjsmin import jsmin

IMPORT = re.compile(r'^import \{ \w+(?:, \w+)* \} from "\./(\w+\.js)";\n', re.MULTILINE)
DECLARATION = r"(?:async function|function|class|const|let) (\w+)"
EXPORT = re.compile(rf"^export (?={DECLARATION})", re.MULTILINE)
DECLARED = re.compile(rf"^{DECLARATION}", re.MULTILINE)
OTHER_FORM = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def one_script(start: Path) -> str:
    """Return a module and all modules that it imports, as one module without imports.

    Args:
        start: path of the module to run, which imports other modules of its folder as `import { name } from "./module.js";`.

    Raises:
        ValueError: modules import each other, two declare the same name, or one imports or exports in another form.
    """
    sources = _sources(start)
    order = TopologicalSorter({name: IMPORT.findall(source) for name, source in sources.items()}).static_order()
    scripts = {name: _without_imports(name, sources[name]) for name in order}
    _check_names(scripts)
    return jsmin("\n".join(scripts.values()))


def _sources(start: Path) -> dict[str, str]:
    """Return the texts of a module and of all modules that it imports, by file name."""
    sources: dict[str, str] = {}
    names = [start.name]
    while names:
        name = names.pop()
        if name not in sources:
            sources[name] = (start.parent / name).read_text(encoding="utf-8")
            names += IMPORT.findall(sources[name])
    return sources


def _without_imports(name: str, source: str) -> str:
    script = EXPORT.sub("", IMPORT.sub("", source))
    if other := OTHER_FORM.search(script):
        raise ValueError(f"{name}: the page cannot hold `{other[0]}`: import names on one line, and export a name where it is declared")
    return script


def _check_names(scripts: dict[str, str]) -> None:
    declared: dict[str, str] = {}
    for module, script in scripts.items():
        for name in DECLARED.findall(script):
            if name in declared:
                raise ValueError(f"{declared[name]} and {module} both declare {name}: the page holds all modules in one scope")
            declared[name] = module
