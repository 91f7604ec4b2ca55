"""What a result was made from: code, files and library versions, as hashes that travel with it.

Nothing here imports more than the standard library, because the workflow asks for these hashes each time it is parsed.
"""

import ast
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from classlens.errors import InputError

PACKAGE = Path(__file__).resolve().parent
ASSETS = (".html", ".css", ".js")
"""Files of a package that are used as its modules are."""
FINGERPRINTS = "CLASSLENS_FINGERPRINTS"
"""Environment variable with the path of the memory of fingerprints; without it a program is run by hand."""
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


def code_sha256(script: Path | str) -> str:
    """Hash of a script and of every module of this library that it imports, however indirectly.

    A rule that carries this hash as a parameter is stale exactly when a file that it executes has changed, whatever the files' dates
    and wherever the checkout lies.
    """
    files = {os.path.relpath(file, PACKAGE): sha256(file) for file in _imported_files(Path(script))}
    return sha256_of(*(part for item in sorted(files.items()) for part in item))


def _imported_files(script: Path) -> set[Path]:
    seen: set[Path] = set()
    open_files = [script.resolve()]
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
    """Files of this package that importing `name` executes; `name` may end in an attribute of a module."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return
    folder = PACKAGE
    yield from _files_of_package(folder)
    for part in parts[1:]:
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


class Fingerprints:
    """sha256 of files outside the workflow, read again only when their size, inode, modification or change time differs.

    The memory of what was read is a file that may be deleted at any time; it saves reading a whole data set whenever the workflow is
    planned. The change time cannot be put back as the modification time can. Where a file system keeps none, a job finds by the hash in
    the manifest that an image has changed, and has its fingerprint read again (`forget`).

    Args:
        memory: where to remember hashes; its folder is made on first use. None remembers nothing between processes.
    """

    def __init__(self, memory: Path | None = None):
        self.memory = memory
        self.known: dict[str, list] = {}
        if memory and memory.is_file():
            with suppress(ValueError):  # cut short by a crash: a cache is made anew
                self.known = json.loads(memory.read_text(encoding="utf-8"))

    def of(self, paths: Iterable[Path | str]) -> list[str | None]:
        """Hexadecimal sha256 of each file, in order; None for one that is not there."""
        stamps = {str(path): _stamp(path) for path in paths}
        forgotten = self._forgotten()
        stale = [
            path for path, stamp in stamps.items() if stamp and (self._known(path) != stamp or (forgotten and _mark(path) in forgotten))
        ]
        with ThreadPoolExecutor() as pool:
            for path, digest in zip(stale, pool.map(sha256, stale), strict=True):
                self.known[path] = [*(stamps[path] or ()), digest]
        if stale:
            self._remember()
        for path in stale if forgotten else []:
            if marker := forgotten.get(_mark(path)):
                marker.unlink(missing_ok=True)
        return [self.known[path][-1] if stamp else None for path, stamp in stamps.items()]

    def _known(self, path: str) -> list[int] | None:
        return self.known[path][:-1] if path in self.known else None

    def _forgotten(self) -> dict[str, Path]:
        """Marks of the files that jobs found changed, by name."""
        folder = _marks(self.memory) if self.memory else None
        return {path.name: path for path in folder.iterdir()} if folder and folder.is_dir() else {}

    def _remember(self) -> None:
        if self.memory is None:
            return
        with suppress(OSError):  # a folder that cannot be written costs time, not correctness
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            draft = self.memory.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self.known), encoding="utf-8")
            draft.replace(self.memory)


def _stamp(path: Path | str) -> list[int] | None:
    """Return size, inode, modification and change time (ns) of a file; None for what is no regular file: a pipe would never end."""
    try:
        found = os.stat(path)
    except OSError:  # it is not there, or a link that leads to itself
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns] if stat.S_ISREG(found.st_mode) else None


def forget(path: Path | str) -> None:
    """Have the fingerprint of a file read again when the workflow is next planned.

    A mark per file, not a new memory file: jobs on other machines may do the same at once.
    """
    memory = os.environ.get(FINGERPRINTS)
    if not memory:
        return
    with suppress(OSError):  # without the folder of the plan there is nothing to forget
        folder = _marks(Path(memory))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _mark(path)).touch()


def _marks(memory: Path) -> Path:
    return memory.with_suffix(".forgotten")


def _mark(path: Path | str) -> str:
    return hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, by name."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # a figure can be drawn where no model can be run
            continue
    return versions
