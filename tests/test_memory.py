"""Batches that fit the memory there is, and go on smaller where that of a GPU turns out too small."""

import argparse
import logging
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY

from classlens.compute import free_ram, out_of_memory
from classlens.compute.device import Compute
from classlens.config.settings import TrainingSettings
from classlens.config.steps import RunSettings, TrainingStep
from classlens.errors import InputError
from classlens.models import training

MB = 2**20
VERSIONS = {
    "unified": ("0::/user/job\n", "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")),
    "legacy": (
        "9:cpu:/\n4:memory:/user/job\n0::/\n",
        "sys/fs/cgroup/memory",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ),
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine with 1000 MiB free, on which this process has 100."""
    monkeypatch.setattr(free_ram, "ROOT", tmp_path)
    monkeypatch.setattr(free_ram, "_resident", lambda: 100 * MB)
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: {9000 * 1024} kB\nMemAvailable:   {1000 * 1024} kB\nHugePages_Total: 0\n")
    return tmp_path


def limit(machine: Path, version: str, path: str, limit: str, used: int, droppable: int) -> None:
    """Put this process into a control group with a limit, below the one of the same version that is limited already."""
    groups, mount, names = VERSIONS[version]
    (machine / "proc" / "self" / "cgroup").write_text(groups)
    folder = machine / mount / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - droppable}\n{names[2]} {droppable}\n")


def test_free_memory_of_a_machine_and_of_a_job(machine: Path) -> None:
    assert free_ram.free_bytes() == 1000 * MB
    assert free_ram.free_bytes(job_mb=700) == 600 * MB
    assert free_ram.free_bytes(job_mb=50) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_control_groups_limit_it(machine: Path, version: str) -> None:
    limit(machine, version, "user/job", str(800 * MB), 500 * MB, 50 * MB)
    assert free_ram.free_bytes() == 350 * MB
    limit(machine, version, "user", str(600 * MB), 500 * MB, 100 * MB)
    assert free_ram.free_bytes() == 200 * MB


def test_a_group_without_a_limit_and_one_that_is_not_shown(machine: Path) -> None:
    limit(machine, "unified", "user/job", "max", 500 * MB, 50 * MB)
    assert free_ram.free_bytes() == 1000 * MB
    (machine / "proc" / "self" / "cgroup").write_text("0::/elsewhere\n")
    limit_of_all = machine / "sys" / "fs" / "cgroup"
    (limit_of_all / "memory.max").write_text(str(300 * MB))
    (limit_of_all / "memory.current").write_text("0")
    (limit_of_all / "memory.stat").write_text("inactive_file 0\n")
    assert free_ram.free_bytes() == 300 * MB


def test_a_machine_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_ram, "ROOT", tmp_path)
    assert free_ram.free_bytes() > 2**40


def freeing(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    monkeypatch.setattr(free_ram, "free_bytes", lambda job_mb=None: megabytes * MB)


VIT_B32 = 36 * 50 * 768 * 2  # hidden states of an image
VIT_L16 = 72 * 197 * 1024 * 2


@pytest.mark.parametrize(
    ("free", "per_image", "batch"),
    [
        (20000, VIT_B32, 32),
        (20000, VIT_L16, 18),
        (4096, VIT_L16, 18),
        (1000, VIT_B32, 32),
        (400, VIT_B32, 18),
        (400, VIT_L16, 1),
        (0, 1, 1),
    ],
)
def test_batches_on_a_processor(monkeypatch: pytest.MonkeyPatch, free: int, per_image: int, batch: int) -> None:
    freeing(monkeypatch, free)
    cpu = Compute(torch.device("cpu"))
    assert cpu.batch_for(on_host=per_image) == cpu.batch_for(on_device=per_image) == batch
    assert Compute(torch.device("cpu"), batch_size=7).batch_for(on_host=per_image) == 7


def test_batches_on_a_gpu_fit_both_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    freeing(monkeypatch, 20000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8000 * MB, 9000 * MB))
    gpu = Compute(torch.device("cuda", 0))
    assert gpu.batch_for(on_device=10 * MB) == 100
    assert gpu.batch_for(on_device=MB) == 256
    assert gpu.batch_for(on_device=10 * MB, on_host=16 * MB) == 32


@pytest.mark.parametrize(("free", "workers"), [(20000, 8), (2000, 3), (10, 1)])
def test_workers_fit_threads_and_memory(monkeypatch: pytest.MonkeyPatch, free: int, workers: int) -> None:
    freeing(monkeypatch, free)
    taken = partial(Compute.from_settings, device="cpu", jobs_per_gpu=1, batch_size="auto", precision="float32", threads=8)
    assert taken(workers="auto").workers == workers
    assert taken(workers=5).workers == 5


def failing_above(most: int, attempts: list[list[int]]) -> Callable[[list[int]], list[int]]:
    """Work on a list of numbers, which has no memory for more than so many; notes what it was tried with."""

    def work(part: list[int]) -> list[int]:
        attempts.append(part)
        if len(part) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [10 * item for item in part]

    return work


def test_batches_are_halved_and_stay_small_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[list[int]] = []
    written: list[int] = []
    with caplog.at_level(logging.INFO):
        out_of_memory.process_batches([list(range(7)), list(range(7, 14)), [14]], failing_above(2, attempts), written.extend)
    assert written == [10 * item for item in range(15)]
    assert [len(part) for part in attempts] == [7, 4, 2, 2, 2, 1, 2, 2, 2, 1, 1]
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["continuing with 4", "continuing with 2"]


def test_work_is_done_once_where_memory_suffices() -> None:
    attempts: list[list[int]] = []
    written: list[list[int]] = []
    out_of_memory.process_batches([[1, 2, 3], [4]], failing_above(3, attempts), written.append)
    assert attempts == [[1, 2, 3], [4]]
    assert written == [[10, 20, 30], [40]]
    out_of_memory.process_batches([[1, 2, 3]], failing_above(3, attempts), written.append, most=2)
    assert attempts[2:] == [[1, 2], [3]]


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"VRAM is too small: set `compute\.device` to cpu"):
        out_of_memory.process_batches([[1, 2]], failing_above(0, []), print)


class Large(torch.nn.Module):
    def to(self, *arguments: Any) -> "Large":  # type: ignore[override]
        raise torch.OutOfMemoryError


def test_a_model_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="VRAM is too small"):
        Compute(torch.device("cpu")).place(Large())


def test_training_names_its_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: Any, **keywords: Any) -> None:
        raise torch.OutOfMemoryError

    program = runpy.run_path(str(REPOSITORY / "workflow" / "scripts" / "train.py"), run_name="loaded")
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(training, "load_images", lambda *arguments: (None, None))
    monkeypatch.setattr("classlens.storage.parquet.read_table", lambda path: None)
    small = {"arch": "vit_tiny_patch16_224", "kwargs": {"img_size": 32, "embed_dim": 12, "num_heads": 2, "depth": 1}, "num_classes": 2}
    recipe = TrainingSettings(epochs=1, batch_size=512, learning_rate=0.1, weight_decay=0.1)
    settings = TrainingStep(**small, training=recipe)
    args = argparse.Namespace(run=RunSettings(device="cpu"), threads=1, manifest=None, root=None, settings=settings)
    with pytest.raises(InputError, match=r"lower the model's `training\.batch_size`"):
        program["main"](args, settings)
