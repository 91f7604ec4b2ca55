"""Publishing a run's results, and adopting them where there are neither images nor models."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Run
from explorer_page import ExplorerPage
from playwright.sync_api import Browser
from test_staleness import planned
from warm_python import interpreter

from classlens.protocol import CORRECTED
from classlens.storage.provenance import sha256

FIGURE = "results/demo/figures/mean_evolution.svg"


def program(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [interpreter(), REPOSITORY / "workflow" / "scripts" / name, *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def publish(demo: Run, home: Path) -> Path:
    """The archive of the demo's results, made in a folder of its own."""
    config = demo.checkout / "config" / "config.yaml"
    home.mkdir()
    (home / "demo").symlink_to(demo.folder / "results" / "demo")
    done = program("publish.py", "--configfile", config, "--results", home)
    assert done.returncode == 0, done.stderr
    return home / "demo.tar"


@pytest.fixture(scope="module")
def archive(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(demo, tmp_path_factory.mktemp("published") / "results")


@pytest.fixture
def adopted(archive: Path, tmp_path: Path) -> Run:
    """Another checkout, with nothing but the published results."""
    run = Run(tmp_path / "another place")
    done = program("adopt.py", "--archive", archive, "--results", run.folder / "results")
    assert done.returncode == 0, done.stderr
    return run


def of_publisher(run: Run) -> list[str]:
    return ["--configfile", str(run.folder / "results/demo/config.yaml")]


def test_the_same_results_give_the_same_bytes(demo: Run, archive: Path, tmp_path: Path) -> None:
    again = publish(demo, tmp_path / "again")
    assert again.read_bytes() == archive.read_bytes()
    assert again.with_suffix(".zenodo.json").read_bytes() == archive.with_suffix(".zenodo.json").read_bytes()


def test_the_metadata_for_zenodo_describe_the_archive(demo: Run, archive: Path) -> None:
    text = archive.with_suffix(".zenodo.json").read_text(encoding="utf-8")
    described = json.loads(text)["metadata"]
    assert described["title"].endswith("results of the classlens run demo")
    assert f"({archive.stat().st_size} bytes, sha256 {sha256(archive)})" in described["description"]
    assert "Models (2, and 10 random twins)" in described["description"]
    assert str(demo.folder.parent) not in text


def test_neither_images_nor_weights_nor_hidden_states_nor_paths_travel(archive: Path, demo: Run) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert not [name for name in names if name.endswith((".safetensors", ".jpg")) or name.startswith(("hidden_states", "memory_keys"))]
        assert len([name for name in names if name.startswith("projections/")]) == 2 * (1 + CORRECTED.random_twins)
        manifest = tar.extractfile("published.json")
        assert manifest
        assert str(demo.folder.parent) not in manifest.read().decode()


def test_a_figure_needs_no_torch_and_gives_the_same_numbers(
    adopted: Run, demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not needed here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    adopted.complete(FIGURE, *of_publisher(adopted))
    for suffix in ("csv", "svg"):
        name = Path(FIGURE).with_suffix(f".{suffix}")
        assert (adopted.folder / name).read_bytes() == (demo.folder / name).read_bytes()


def no_change(_: Run, __: Run) -> None:
    """The data set is absent."""


def newer_images(adopted: Run, demo: Run) -> None:
    shutil.copytree(demo.folder / "results/demo/data/shapes/images", adopted.folder / "results/demo/data/shapes/images")


def older_images(adopted: Run, demo: Run) -> None:
    newer_images(adopted, demo)
    for path in (adopted.folder / "results/demo/data/shapes/images").rglob("*"):
        os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [no_change, newer_images, older_images])
def test_nothing_upstream_is_computed_again(adopted: Run, demo: Run, change: Callable[[Run, Run], None]) -> None:
    change(adopted, demo)
    for arguments in (of_publisher(adopted), []):  # the publisher's config, and the demo's own
        assert planned(adopted, FIGURE, *arguments) == {"figure_mean_evolution"}
        drawn = {rule for rule in planned(adopted, *arguments) if not rule.startswith(("figure_", "explorer"))}
        assert drawn <= {"figures", "reproduction", "report_pages", "sanity"}


def test_the_explorer_does_without_photographs(adopted: Run, demo: Run, browser: Browser) -> None:
    adopted.complete("explorer", *of_publisher(adopted))
    shown = []
    for run in (adopted, demo):
        with ExplorerPage(browser, run.folder / "results/demo/explorer") as page:
            shown.append(page.open("image=30&block=7&site=attn_out").cells())
            assert ("url" in str(page.page.locator(".photograph").evaluate("element => element.style.backgroundImage"))) == (run is demo)
            assert page.violations() == []
    assert shown[0] == shown[1]


def test_a_lost_table_is_measured_from_the_projections(adopted: Run) -> None:
    for path in (adopted.folder / "results/demo/identifiability").rglob("*.parquet"):
        path.unlink()
    assert planned(adopted, FIGURE, *of_publisher(adopted)) == {"identifiability", "figure_mean_evolution"}


def test_another_config_is_not_mixed_with_published_results(adopted: Run) -> None:
    config = yaml.safe_load((adopted.folder / "results/demo/config.yaml").read_text(encoding="utf-8"))
    done = adopted.snakemake("--dry-run", "--configfile", adopted.configure({**config, "seed": 1}))
    assert done.returncode == 1
    assert "error: results/demo holds published results of another config: use --configfile results/demo/config.yaml" in done.stderr


def test_results_that_are_there_are_not_overwritten(adopted: Run, archive: Path) -> None:
    done = program("adopt.py", "--archive", archive, "--results", adopted.folder / "results")
    assert done.returncode == 1
    assert "results/demo exists already" in done.stderr


def rewritten(archive: Path, path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    """A copy of an archive with changed members."""
    with tarfile.open(archive) as source, tarfile.open(path, "w") as target:
        for member in source:
            content = source.extractfile(member)
            assert content
            for name, data in change(member.name, content.read()):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                target.addfile(info, io.BytesIO(data))
    return path


TABLE = "tables/identifiability.csv"


def listing(name: str, data: bytes, member: str) -> bytes:
    """A manifest that lists a member more."""
    manifest = json.loads(data)
    return json.dumps({**manifest, "files": {**manifest["files"], member: "0" * 64}}).encode()


CHANGES: dict[str, tuple[Callable[[str, bytes], list[tuple[str, bytes]]], str]] = {
    "a changed byte": (lambda name, data: [(name, data[:-1] + b"x" if name == TABLE else data)], f"{TABLE} is not as it was published"),
    "a file more": (
        lambda name, data: [(name, data), *([("evil.sh", b"")] if name == TABLE else [])],
        "evil.sh is not listed in its published.json",
    ),
    "a file less": (lambda name, data: [] if name == TABLE else [(name, data)], f"lacks {TABLE}, which its published.json lists"),
    "a path outside": (
        lambda name, data: [(name, listing(name, data, "../evil.sh") if name == "published.json" else data)],
        r"../evil.sh would lie outside the results",
    ),
    "no manifest": (lambda name, data: [] if name == "published.json" else [(name, data)], "does not begin with published.json"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_archive_is_refused_by_name(archive: Path, tmp_path: Path, what: str) -> None:
    change, message = CHANGES[what]
    done = program("adopt.py", "--archive", rewritten(archive, tmp_path / "changed.tar", change), "--results", tmp_path / "results")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "results").iterdir())


@pytest.mark.parametrize("kept", [0, 700, 2_000_000])
def test_a_truncated_archive_is_refused(archive: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "short.tar").write_bytes(archive.read_bytes()[:kept])
    done = program("adopt.py", "--archive", tmp_path / "short.tar", "--results", tmp_path / "results")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "short.tar" in done.stderr
    assert not list((tmp_path / "results").iterdir())


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    done = program("adopt.py", "--archive", tmp_path / "none.tar")
    assert (done.returncode, done.stderr) == (
        1,
        f"error: there is no archive {tmp_path}/none.tar: name it with make adopt FILE=...\n",
    )
