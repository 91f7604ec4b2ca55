"""Provenance of results: the hashes of code and files, and the library versions.

This module imports only the standard library, because the workflow computes these hashes each time it is parsed.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from classlens.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the library. In a checkout it lies beside the programs, in an installation it does not."""
UNHASHED_PACKAGE = "classlens.config"
"""Package that reads the settings of programs. Its code makes no result stale, because rules have the settings as parameters."""
ASSETS = (".html", ".css", ".js", ".mplstyle")
"""Endings of files in a package that its modules use, and that count as code."""
LIBRARIES = ("torch", "timm", "numpy", "scipy", "pyarrow", "polars", "pillow")


def sha256(path: Path | str) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, wanted: str | None) -> str:
    """Return the sha256 of a file, and raise an InputError if it differs from `wanted` (None: any)."""
    found = sha256(path)
    if wanted and found != wanted.lower():
        raise wrong_sha256(path, found, wanted)
    return found


def wrong_sha256(path: Path, found: str, wanted: str) -> InputError:
    """Return the error for a file whose sha256 differs from the one in the config."""
    return InputError(f"{path} has the sha256 {found}, but the config pins {wanted}: get the right file, or correct `sha256`")


def sha256_of(*parts: str) -> str:
    """Return the hexadecimal sha256 of a sequence of strings, encoded so that different sequences never have the same bytes."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def code_sha256(script: Path | str, *modules: str) -> str:
    """Return the sha256 of a script and of every module that it imports, directly or indirectly.

    A rule with this sha256 as a parameter is stale exactly if the code that it executes has changed. Dates of files and the place of the
    checkout do not matter.

    Args:
        script: the program.
        modules: dotted names of further modules that it runs, such as the module of a figure.
    """
    programs = Path(script).resolve().parent
    files = {_name(file, programs): _digest(file) for file in _imported_files(Path(script).resolve(), *modules)}
    return sha256_of(*(part for item in sorted(files.items()) for part in item))


def _name(file: Path, programs: Path) -> str:
    """Return the path of a file from the folder that it is imported from, which is the same in a checkout and in an installation."""
    return str(file.relative_to(PACKAGE.parent if file.is_relative_to(PACKAGE) else programs))


_digest = cache(sha256)  # the programs share most modules


def _imported_files(script: Path, *modules: str) -> set[Path]:
    seen: set[Path] = set()
    open_files = [script, *(file for name in modules for file in _module_files(name, script.parent))]
    while open_files:
        file = open_files.pop()
        if file not in seen:
            seen.add(file)
            open_files.extend(_direct_imports(file, script.parent) if file.suffix == ".py" else ())
    return seen


@cache
def _direct_imports(file: Path, programs: Path) -> tuple[Path, ...]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return tuple(path for name in _imported_names(tree) for path in _module_files(name, programs))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield every statement in a tree, without expressions, which contain no imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(node)


@cache  # modules import the same ones
def _module_files(name: str, programs: Path) -> tuple[Path, ...]:
    """Return the files of the library and the programs that importing `name` executes. `name` may end in an attribute of a module."""
    if f"{name}.".startswith(f"{UNHASHED_PACKAGE}."):
        return ()
    folder = PACKAGE.parent if name.split(".")[0] == PACKAGE.name else programs
    found: list[Path] = []
    for part in name.split("."):
        if (folder / f"{part}.py").is_file():
            return (*found, folder / f"{part}.py")
        folder /= part
        if not (folder / "__init__.py").is_file():
            break
        found += _files_of_package(folder)
    return tuple(found)


@cache
def _files_of_package(folder: Path) -> tuple[Path, ...]:
    """Return the file that importing a package executes, and the package's assets."""
    return (folder / "__init__.py", *(path for path in folder.iterdir() if path.suffix in ASSETS))


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, by name."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # figures do not need the libraries that run models
            continue
    return versions
