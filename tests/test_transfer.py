"""Copies between the CPU and a GPU, and how often a forward pass on a GPU makes the CPU wait. The GPU is PyTorch's fake one."""

import time
from typing import Any
from unittest.mock import Mock

import pytest
import timm
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from classlens.analyses import extraction, memories
from classlens.compute import device as device_module
from classlens.compute import transfer
from classlens.compute.device import Compute
from classlens.data import batches, transforms
from classlens.data.batches import Batch
from classlens.data.transforms import Transform
from classlens.errors import InputError
from classlens.protocol import CORRECTED

SMALL = {"img_size": 32, "embed_dim": 32, "num_heads": 2, "depth": 3}
TRANSFORM = {"resize": [32, 32], "keep_ratio": False, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
AWAITED = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::unique_dim", "aten::_unique2"}


class Waits(TorchDispatchMode):
    """Records every operation for whose result the CPU waits: numbers read from the GPU, and copies that are not asynchronous."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function._schema.name
        tensors = [part for part in (*args, result) if isinstance(part, torch.Tensor)]
        between = len({part.device.type for part in tensors if part.dim()} & {"cpu", "cuda"}) == 2
        is_copy = name in ("aten::_to_copy", "aten::copy_")
        asynchronous = (kwargs or {}).get("non_blocking", args[2] if name == "aten::copy_" and len(args) > 2 else False)
        if name in AWAITED or (is_copy and between and not asynchronous):
            self.found.append(name)
        return result


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The stream of a fake GPU. Pinned memory, which needs a real one, is left out."""
    stream = Mock()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(transfer, "_copy_to_host", lambda tensor: tensor.to("cpu", non_blocking=True))
    for module in (batches, transforms):
        monkeypatch.setattr(module, "to_device", lambda tensor, device: tensor.to(device, non_blocking=True))
    return stream


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_extraction_waits_for_the_gpu_once_per_batch(stream: Mock, dtype: str, precision: str) -> None:
    model = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    with FakeTensorMode() as gpu:
        model._apply(lambda tensor: gpu.from_tensor(tensor).to("cuda"))
        pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        batch = Batch([0, 1, 2, 3], torch.zeros(4, dtype=torch.int64, device="cuda"), pixels, Transform(TRANSFORM))
        reads = extraction.reads(3, dtype) | memories.reads(model, CORRECTED)
        with Waits() as waits:
            found = extraction.recorded(model, batch, reads, Compute(torch.device("cuda"), precision=precision))
    assert waits.found == []
    assert stream.synchronize.call_count == 1
    assert {tensor.device.type for tensors in found.values() for tensor in tensors} == {"cpu"}


def test_operations_that_wait_are_seen() -> None:
    with FakeTensorMode(), Waits() as waits:
        torch.zeros(3, device="cuda").to("cpu")
        torch.zeros(3).to("cuda")
        torch.zeros(3, device="cuda").copy_(torch.zeros(3))
        torch.zeros(3).to("cuda", non_blocking=True)
        torch.zeros(3, device="cuda").copy_(torch.zeros(3), non_blocking=True)
    assert waits.found == ["aten::_to_copy", "aten::_to_copy", "aten::copy_"]


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


def test_tf32_is_a_choice_for_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"device": "cpu", "jobs_per_gpu": 1, "batch_size": 1, "workers": 1, "threads": 1}
    with pytest.raises(InputError, match="tf32, which only a GPU has"):
        Compute.from_settings(**settings, precision="tf32")
    monkeypatch.setattr(device_module, "_device", lambda name, jobs: torch.device("cuda"))
    for precision, expected in (("tf32", True), ("float32", False), ("bfloat16", False)):
        Compute.from_settings(**settings, precision=precision)
        assert torch.backends.cudnn.allow_tf32 == expected
        assert torch.get_float32_matmul_precision() == ("high" if expected else "highest")
