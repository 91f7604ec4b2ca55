"""GPUs as slots: how many there are without asking torch, and that no more jobs share one than were told to."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPOSITORY

from classlens.compute import gpus
from classlens.compute.device import Compute
from classlens.errors import InputError

pytestmark = pytest.mark.slow

HOLD = """
import logging, sys
from classlens.compute import gpus
from classlens.compute.device import Compute
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
print(gpus.take(sys.argv[2:], int(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs."""
    for index in range(3):
        (tmp_path / "gpus" / f"0000:0{index}:00.0").mkdir(parents=True)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "gpus")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("chosen", "count"), [("", 0), ("-1", 0), ("1", 1), ("0, 2", 2), ("2,7,1", 1), ("GPU-12ab,GPU-34", 2), ("MIG-12ab", 1), (None, 3)]
)
def test_gpus_that_a_process_sees(driver: None, monkeypatch: pytest.MonkeyPatch, chosen: str | None, count: int) -> None:
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpus.count() == count


@pytest.mark.parametrize(("device", "jobs", "slots"), [("auto", 1, 3), ("cuda", 2, 6), ("cuda:1", 2, 2), ("cpu", 2, 0)])
def test_slots_of_a_machine(driver: None, device: str, jobs: int, slots: int) -> None:
    assert gpus.slots(device, jobs) == slots


def test_a_machine_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.slots("auto", 1) == 0
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: one (UUID: GPU-1)'\necho '  MIG 1g (UUID: MIG-1)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.count() == 1


class Holder:
    """A process that takes one of some GPUs, and has it until it is killed."""

    def __init__(self, *arguments: object):
        program = [sys.executable, "-c", HOLD, *map(str, arguments)]
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY / "workflow" / "scripts"
        )

    def line(self) -> str:
        """What it says next: the index of its GPU, or that it waits."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def hold():
    """Makes holders, which end with the test."""
    holders: list[Holder] = []

    def make(*arguments: object) -> Holder:
        holders.append(Holder(*arguments))
        return holders[-1]

    yield make
    for holder in holders:
        holder.kill()


def names(count: int) -> list[str]:
    """GPUs that no other test has."""
    return [f"test {os.getpid()} {count} {index}" for index in range(count)]


def test_two_processes_never_share_a_gpu_and_a_third_waits_until_one_is_killed(hold) -> None:
    first, second = hold(1, *names(2)), hold(1, *names(2))
    assert {first.line(), second.line()} == {"0", "1"}
    third = hold(1, *names(2))
    assert third.line() == "waiting for a GPU: other jobs use all 2 (compute.jobs_per_gpu is 1)"
    second.kill()
    assert third.line() in ("0", "1")
    assert hold(1, *names(2)).line().startswith("waiting")


def test_idle_gpus_come_before_second_jobs(hold) -> None:
    assert [hold(2, *names(3)).line() for _ in range(5)] == ["0", "1", "2", "0", "1"]


def test_a_process_that_asks_again_has_what_it_has() -> None:
    assert gpus.take(names(4), 1) == 0
    assert gpus.take(names(4)[::-1], 1) == 3


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A torch that sees two GPUs; the one that it is set to use."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"{os.getpid()} fake {index}"))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(gpus, "_held", {})
    return chosen


taken = partial(Compute.from_settings, batch_size="auto", workers="auto", precision="float32", jobs_per_gpu=1, threads=1)


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1), ("cuda:0", 0)])
def test_a_program_takes_the_gpu_that_it_runs_on(cuda: list[int], device: str, index: int) -> None:
    assert taken(device=device).device == torch.device("cuda", index)
    assert cuda == [index]


def test_a_program_takes_another_gpu_than_that_of_a_running_one(cuda: list[int], hold) -> None:
    assert hold(1, f"{os.getpid()} fake 0").line() == "0"
    assert taken(device="auto").device == torch.device("cuda", 1)


def test_a_program_without_a_gpu_takes_none(cuda: list[int]) -> None:
    assert taken(device="cpu").device == torch.device("cpu")
    assert cuda == []


@pytest.mark.parametrize("device", ["cuda:2", "cuda:x", "tpu", "meta"])
def test_devices_that_are_not_there(cuda: list[int], device: str) -> None:
    with pytest.raises(InputError, match=r"`compute\.device` is"):
        taken(device=device)
