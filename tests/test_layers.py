"""The order in which the library's folders may import each other, and how few files lie outside of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "workflow" / "scripts" / "classlens"
ORDER = (
    ("__init__",),
    ("version", "errors", "vocabulary", "progress", "protocol"),
    ("statistics",),
    ("storage", "compute"),
    ("trace", "lens"),
    ("data",),
    ("models",),
    ("analyses",),
    ("presentation",),
    ("figures", "tables", "explorer"),
    ("config",),
    ("report", "archive", "estimate", "check", "terminal"),
)
"""Files and folders of the package; each imports only from its own row and from rows above it."""
ROW = {name: number for number, row in enumerate(ORDER) for name in row}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """The file or folder directly in the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(file: Path) -> str:
    """A file's dotted name."""
    return ".".join(["classlens", *file.relative_to(PACKAGE).with_suffix("").parts])


def imported(file: Path) -> Iterator[str]:
    """Dotted names of what a module imports from the programs' folder, also within functions and for types only."""
    beside = {path.stem for path in PACKAGE.parent.iterdir()}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in beside)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in beside:
            inner = PACKAGE.parent / Path(*node.module.split("."))
            yield from (f"{node.module}.{alias.name}" if inner.is_dir() else node.module for alias in node.names)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_run_one_way(file: Path) -> None:
    part = part_of(name_of(file))
    for module in imported(file):
        assert module.split(".")[0] == "classlens", f"{name_of(file)} imports the program {module}"
        assert ROW[part_of(module)] <= ROW[part], f"{name_of(file)} imports {module}, which stands further down"


def test_no_module_imports_itself_through_others() -> None:
    graph = {name_of(file).removesuffix(".__init__"): set(imported(file)) for file in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_few_files_lie_outside_of_folders() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 10
    assert {path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"} == set(ROW)
