"""Copies between the CPU and a GPU, and results that are written beside it. See test_waits.py for waits."""

import time

import pytest
import torch

from classlens.compute import device as device_module
from classlens.compute import transfer
from classlens.compute.device import Compute
from classlens.errors import InputError


def test_tensors_of_the_cpu_are_not_copied() -> None:
    tensor = torch.arange(3)
    assert transfer.to_host({"a": (tensor,)})["a"][0] is tensor
    assert transfer.to_device(tensor, torch.device("cpu")) is tensor


def test_results_are_written_in_order_beside_a_gpu() -> None:
    written: list[int] = []
    with transfer.writing_beside(torch.device("cuda"), lambda number: (time.sleep(0.01), written.append(number))) as write:
        for number in range(5):
            write(number)
    assert written == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_error_of_writing_is_raised(device: str) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), transfer.writing_beside(torch.device(device), full) as write:
        write(1)


def test_tf32_can_be_left_out() -> None:
    torch.set_float32_matmul_precision("high")
    with device_module.without_tf32():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")


def test_tf32_is_a_choice_for_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"device": "cpu", "jobs_per_gpu": 1, "batch_size": 1, "workers": 1, "threads": 1}
    with pytest.raises(InputError, match="tf32, which only a GPU has"):
        Compute.from_settings(**settings, precision="tf32")
    monkeypatch.setattr(device_module, "_device", lambda name, jobs: torch.device("cuda"))
    for precision, expected in (("tf32", True), ("float32", False), ("bfloat16", False)):
        Compute.from_settings(**settings, precision=precision)
        assert torch.backends.cudnn.allow_tf32 == expected
        assert torch.get_float32_matmul_precision() == ("high" if expected else "highest")
