"""Runs of the workflow that tests share, each made once."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_page import Fault, page
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright
from warm_python import interpreter

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN = REPOSITORY / "tests" / "golden"
COPIED = ("Snakefile", "rules", "workflow", "config", "profiles", "envs")

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network for anything
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # `make test` must not tell the make of a test that it runs inside another make
    os.environ.pop(name, None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs that start often are compiled once
settings.register_profile("no deadline", deadline=None)  # a busy machine is slow, which is no fault
settings.load_profile("no deadline")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # tests side by side share the cores; threads that spin while they wait would take them from each other
    os.environ |= {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // WORKERS)), "OMP_WAIT_POLICY": "passive"}


# Groups of tests, the longest first, so that no worker begins a long one at the end.
LONG = ("demo", "test_paper", "test_reliability", "golden", "test_staleness", "test_resources", "test_twins", "test_caching", "test_report")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests of reliability do, and where what they saw is written."""
    parser.addoption("--kills", type=int, default=3, help="how often a run is killed (test_reliability)")
    parser.addoption("--inputs", type=int, default=300, help="how many broken configs and images are tried (test_fuzz)")
    parser.addoption("--faults", type=Path, help="page to write about the faults that were tried")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a run of the workflow go to one worker, others a module at a time; long groups begin first."""
    for item in items:
        shared = [name for name in ("demo", "golden") if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.path.stem))
        if shared or hasattr(item.module, "Run"):
            item.add_marker(pytest.mark.workflow)
    items.sort(key=lambda item: LONG.index(group) if (group := item.get_closest_marker("xdist_group").args[0]) in LONG else len(LONG))


NAMED_IMAGE = "n01491361/ILSVRC2012_val_00000000.JPEG"
GOLDEN_MODELS = {
    "cls": {"arch": "vit_base_patch32_224", "kwargs": {"embed_dim": 64, "num_heads": 4, "depth": 12}},
    "gap": {"arch": "vit_base_patch16_rpn_224", "kwargs": {"embed_dim": 32, "num_heads": 2, "depth": 12, "init_values": 1.0}},
}


class Run:
    """A checkout and a folder in which its workflow runs.

    Args:
        folder: working directory; its name may hold spaces.
        checkout: folder of the Snakefile.
    """

    def __init__(self, folder: Path, checkout: Path = REPOSITORY):
        self.folder, self.checkout = folder, checkout
        folder.mkdir(parents=True, exist_ok=True)

    def configure(self, config: dict[str, Any], name: str = "my config.yaml") -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def arguments(self, *arguments: str | Path) -> list[str]:
        """Arguments of Snakemake."""
        return [str(part) for part in ("--snakefile", self.checkout / "Snakefile", "--directory", self.folder, "--cores", "2", *arguments)]

    def command(self, *arguments: str | Path) -> list[str]:
        """A command that starts Snakemake anew."""
        return [sys.executable, "-m", "snakemake", *self.arguments(*arguments)]

    def snakemake(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([interpreter(), "-m", "snakemake", *self.arguments(*arguments)], capture_output=True, text=True)

    def complete(self, *arguments: str | Path) -> str:
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def planned(run: Run, *arguments: str) -> set[str]:
    """Rules that a dry run would run."""
    output = run.complete("--dry-run", *arguments)
    if "Nothing to be done" in output:
        return set()
    table = re.search(r"Job stats:\njob .*\n-+ .*\n([\s\S]*?)\ntotal", output)
    assert table, output
    return {line.split()[0] for line in table[1].splitlines()} - {"all"}


def copy_of_checkout(target: Path) -> Path:
    """Another checkout of what users run."""
    target.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copy2(source, target / name)
    return target


def small_config(**changes: Any) -> dict[str, Any]:
    """A run of one small random model on ten generated images in two shards; a job takes little more than its start."""
    model = {"arch": "vit_tiny_patch16_224", "kwargs": {"img_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 2}, "weights": "random"}
    return {
        "run": "small",
        "datasets": {"d": {"kind": "shapes", "num_classes": 5, "images_per_class": 2, "probe_images_per_class": 2}},
        "models": {"m": model},
        "hidden_states": {"shard_size": 5},
        "deletion": {"steps": 3},
        "figures": {"formats": ["svg"]},
        **changes,
    }


@pytest.fixture
def note_fault(record_property: Callable[[str, object], None], tmp_path: Path) -> Callable[..., None]:
    """Note a fault for the page about them (`--faults`): the arguments of `fault_page.Fault`. Nothing may have been lost."""

    def note(what: str, sees: str, **more: Any) -> None:
        fault = Fault(what, sees.replace(f"{tmp_path}/", "/").replace(str(tmp_path), "/").removeprefix("error: "), **more)
        assert fault.lost == 0
        record_property("fault", asdict(fault))

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the page about faults, if every test has passed."""
    path, passed = config.getoption("faults"), terminalreporter.stats.get("passed", [])
    if path and not {"failed", "error"} & terminalreporter.stats.keys():
        notes = [value for report in passed for name, value in report.user_properties if name == "fault"]
        path.write_text(page(Fault(**note) for note in notes), encoding="utf-8")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo as it is delivered, run to the end in a copy of the checkout whose path has a space."""
    home = tmp_path_factory.mktemp("demo")
    run = Run(home / "a folder", copy_of_checkout(home / "a checkout"))
    (run.folder / "log.txt").write_text(run.complete(), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The published implementation's two models and images, in its protocol and in float32."""
    run = Run(tmp_path_factory.mktemp("golden"))
    models = {
        name: {**model, "weights": str(GOLDEN / f"{name}.safetensors"), "random_twin": False} for name, model in GOLDEN_MODELS.items()
    }
    models["gap"]["analyses"] = ["identifiability", "context", "building", "memories"]  # what was published for it
    config = {
        "run": "golden",
        "protocol": "paper",
        "hidden_states": {"dtype": "float32", "shard_size": 100},
        "figures": {"formats": ["svg"]},
        "relevance": {"methods": ["ours", "chefer"], "images": {NAMED_IMAGE: ["n07753275", "tench", 2]}},  # what was published
        "datasets": {"golden": {"kind": "imagenet_s", "root": str(GOLDEN / "data")}},
        "models": models,
    }
    results = ("perturbations/cls/golden", "deletion/cls/golden", "probes/cls/golden")
    targets = ("F2", "F3", "F4", "F5", "F7", "F11", *(f"results/golden/{name}.parquet" for name in results))  # what was published
    run.complete(*targets, "--configfile", run.configure(config))
    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium that is not to use any network."""
    program = shutil.which("chromium")
    if not program:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    quiet = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync", "no-first-run")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=[f"--{flag}" for flag in quiet])
