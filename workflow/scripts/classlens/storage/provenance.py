"""What a result was made from: code, files and library versions, as hashes that travel with it.

Nothing here imports more than the standard library, because the workflow asks for these hashes each time it is parsed.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from classlens.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2]
SETTINGS = "classlens.config"
"""What programs import from here reads their arguments; values reach them as parameters, so that its code makes no result stale."""
ASSETS = (".html", ".css", ".js", ".mplstyle")
"""Files of a package that are used as its modules are."""
LIBRARIES = ("torch", "timm", "numpy", "scipy", "pyarrow", "polars", "pillow")


def sha256(path: Path | str) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, wanted: str | None) -> str:
    """The sha256 of a file; an InputError is raised where another is wanted."""
    found = sha256(path)
    if wanted and found != wanted.lower():
        raise different(path, found, wanted)
    return found


def different(path: Path, found: str, wanted: str) -> InputError:
    """The error for a file with another hash than the config pins."""
    return InputError(f"{path} has the sha256 {found}, and the config pins {wanted}: get the right file, or correct `sha256`")


def sha256_of(*parts: str) -> str:
    """Hexadecimal sha256 of a sequence of strings, so that no two different sequences agree."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def code_sha256(script: Path | str, *modules: str) -> str:
    """Hash of a script, and of every module that it imports, however indirectly.

    Args:
        script: the program.
        modules: dotted names of further modules that it runs, such as that of a figure.

    A rule that carries this hash as a parameter is stale exactly when a file that it executes has changed, whatever the files' dates
    and wherever the checkout lies.
    """
    files = {os.path.relpath(file, SCRIPTS): sha256(file) for file in _imported_files(Path(script), *modules)}
    return sha256_of(*(part for item in sorted(files.items()) for part in item))


def _imported_files(script: Path, *modules: str) -> set[Path]:
    seen: set[Path] = set()
    open_files = [script.resolve(), *(file for name in modules for file in _module_files(name))]
    while open_files:
        file = open_files.pop()
        if file not in seen:
            seen.add(file)
            open_files.extend(_direct_imports(file) if file.suffix == ".py" else ())
    return seen


@cache
def _direct_imports(file: Path) -> tuple[Path, ...]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return tuple(path for name in _imported_names(tree) for path in _module_files(name))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every statement in a tree, without the many expressions in which nothing is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(node)


def _module_files(name: str) -> Iterator[Path]:
    """Files beside the programs that importing `name` executes; `name` may end in an attribute of a module."""
    if f"{name}.".startswith(f"{SETTINGS}."):
        return
    folder = SCRIPTS
    for part in name.split("."):
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
            return
        folder /= part
        if not (folder / "__init__.py").is_file():
            return
        yield from _files_of_package(folder)


def _files_of_package(folder: Path) -> Iterator[Path]:
    """What importing a package executes, and its assets."""
    yield folder / "__init__.py"
    yield from (path for path in folder.iterdir() if path.suffix in ASSETS)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, by name."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # a figure can be drawn where no model can be run
            continue
    return versions
