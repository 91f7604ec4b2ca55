"""Results of models shared between runs and users: what is taken from the cache, and what must not be."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Run, copy_of_checkout, small_config

STATES = "results/{run}/hidden_states/m/d/validation/{shard}.parquet"
PROJECTIONS = "results/{run}/projections/m/d/validation/{shard}.parquet"
SHARDS = ("00000", "00001")
WANTED = [pattern.format(run="{run}", shard=shard) for pattern in (STATES, PROJECTIONS) for shard in SHARDS]
WANTED += ["results/{run}/memory_keys/m/d/validation/00001.parquet", "results/{run}/predictions/m/d/validation.parquet"]
WANTED += ["results/{run}/perturbations/m/d.parquet"]  # which needs the masks, at other paths in every run


def made(run: Run, name: str) -> dict[str, bytes]:
    """The wanted files of a run that uses the cache, by path without the run's name."""
    config = small_config(run=name)
    run.complete(*(path.format(run=name) for path in WANTED), "--cache", "--configfile", run.configure(config))
    return {path: (run.folder / path.format(run=name)).read_bytes() for path in WANTED}


def jobs(run: Run, name: str) -> set[str]:
    """The stages of which some job ran rather than being taken from the cache."""
    logs = run.folder / "results" / name / "logs"
    return {path.relative_to(logs).parts[0] for path in logs.rglob("*.log") if path.stat().st_size} & {
        "extract",
        "project",
        "perturbations",
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def results(first: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(first.folder / "cache"))
        (first.folder / "cache").mkdir()
        return made(first, "mine")


@pytest.fixture
def second(first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Another user's checkout and folder, with the same cache."""
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(first.folder / "cache"))
    return Run(tmp_path / "theirs", copy_of_checkout(tmp_path / "another checkout"))


def test_another_checkout_computes_nothing_again(first: Run, results: dict[str, bytes], second: Run) -> None:
    assert jobs(first, "mine") == {"extract", "project", "perturbations"}
    assert made(second, "theirs") == results
    assert jobs(second, "theirs") == set()


def test_shards_are_kept_apart(results: dict[str, bytes], first: Run) -> None:
    tables = [pq.read_table(first.folder / PROJECTIONS.format(run="mine", shard=shard)) for shard in SHARDS]
    assert [sorted(set(table["image_id"].to_pylist())) for table in tables] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_changed_helper_misses_the_cache(results: dict[str, bytes], second: Run) -> None:
    helper = second.checkout / "workflow" / "scripts" / "classlens" / "analyses" / "projection.py"
    helper.write_text(helper.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    made(second, "theirs")
    assert jobs(second, "theirs") == {"project"}
