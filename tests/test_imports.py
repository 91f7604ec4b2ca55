"""What must be importable without waiting for torch: planning, and everything that only draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "workflow" / "scripts" / "classlens"
PLANNING = [f"config.{name}" for name in ("plan", "settings", "catalogue", "expected", "published")]
PLANNING += ["protocol", "archive.publication", "data.cifar_layout", "data.photos", "compute.gpus"]
LIGHT = [*PLANNING, "presentation.numbers", "statistics", "explorer.model_files", "explorer.page"]
LIGHT += [f"figures.{path.stem}" for path in (PACKAGE / "figures").glob("[a-z]*.py")]
LIGHT += [f"tables.{path.stem}" for path in (PACKAGE / "tables").glob("[a-z]*.py")]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Heavy libraries that importing each module loads, the modules one after another in one process."""
    program = f"""
import importlib, sys
for name in {LIGHT!r}:
    importlib.import_module("classlens." + name)
    print(name, *sorted({{"torch", "polars", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


def test_nothing_that_plans_or_draws_loads_torch(loaded: dict[str, set[str]]) -> None:
    assert set(loaded) == set(LIGHT)
    assert not any("torch" in libraries for libraries in loaded.values())


def test_planning_loads_no_table_library(loaded: dict[str, set[str]]) -> None:
    for name in PLANNING:
        assert not loaded[name]


@pytest.mark.parametrize(("variables", "while_importing"), [({}, True), ({"CLASSLENS_STARTED_BY": str(os.getpid())}, False)])
def test_jobs_look_for_garbage_when_they_have_imported_all(variables: dict[str, str], while_importing: bool) -> None:
    program = """
import gc
import cli
print(gc.isenabled())
cli.run(lambda args, settings: print(gc.isenabled()), cli.Parser(""), [])
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent, env={**os.environ, **variables})
    assert done.stdout.split() == [str(while_importing), "True"]


def test_jobs_import_the_compiler_only_when_they_use_it() -> None:
    program = """
import sys
import torch
import model_cli

def imported():
    return "torch._dynamo.symbolic_convert" in sys.modules

def main(args, settings):
    from torchvision.ops import roi_align
    found = roi_align(torch.ones(1, 1, 4, 4), [torch.tensor([[0.0, 0.0, 3.0, 3.0]])], 2)
    print(imported(), found.sum().item(), torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(1)).item(), imported())

print(imported())
model_cli.cli.run(main, model_cli.cli.Parser(""), [])
"""
    environment = {**os.environ, "CLASSLENS_STARTED_BY": str(os.getpid())}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, env=environment)
    assert done.stdout.split() == ["False", "False", "4.0", "2.0", "True"]


@pytest.mark.parametrize(
    "imported", ["torch._dynamo.explain", "torch._dynamo.utils.counters", "torch._dynamo.backends.registry.list_backends"]
)
def test_whatever_needs_the_compiler_while_libraries_are_imported_gets_it(imported: str) -> None:
    module, name = imported.rsplit(".", 1)
    program = f"""
from classlens.compute import late_compiler
late_compiler.postpone()
from {module} import {name}
import torch._dynamo
print(type(torch._dynamo).__name__, torch._dynamo.utils.counters is not None, {name} is not None)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == ["module", "True", "True"]
