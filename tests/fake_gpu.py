"""A GPU that holds no data: it knows the shape of every tensor, and which operations make the CPU wait for it.

Operations on tensors of the CPU run as usual. Those with a tensor on the GPU run in PyTorch's `FakeTensorMode`. A tensor that is copied to
the CPU is zero there, so that everything after the copy runs too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest
import timm
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from classlens.compute import transfer
from classlens.data.batches import Batch
from classlens.data.transforms import Transform

DEVICE = torch.device("cuda", 0)
SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "num_heads": 2, "depth": 3, "num_classes": 7}
TRANSFORM = {"resize": [32, 32], "keep_ratio": False, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
OLDEST = (2, 10)  # torch 2.6 is too old, and 2.15 works
COPIES = ("aten::_to_copy", "aten::to", "aten::copy_")
READ = "aten::_local_scalar_dense"
# Operations whose result has a shape that only the GPU knows. `FakeTensorMode` refuses others, such as bincount.
OF_UNKNOWN_SHAPE = ("aten::nonzero", "aten::masked_select", "aten::unique_dim", "aten::_unique2", "aten::repeat_interleave")


class FakeGpu(TorchDispatchMode):
    """A fake GPU.

    Attributes:
        waits: names of the operations for whose result the CPU waited: numbers read from the GPU, tensors whose shape the GPU decides, and
            copies that are not asynchronous, or of tensors that are not contiguous, which go through pageable memory.
        copied: types of the tensors that were copied to the GPU.
        stream: the GPU's stream, which records its calls of `synchronize`.
    """

    def __init__(self, mode: FakeTensorMode, stream: Mock) -> None:
        super().__init__()
        self._mode = mode
        self.waits: list[str] = []
        self.copied: list[torch.dtype] = []
        self.stream = stream

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name
        inputs = [part for part in tree_leaves((args, kwargs)) if isinstance(part, torch.Tensor)]
        wanted = [torch.device(part).type for part in kwargs.values() if isinstance(part, torch.device)]
        on_gpu = [part for part in inputs if isinstance(part, FakeTensor)]
        if not on_gpu and "cuda" not in wanted:
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        self._note(name, inputs, wanted, kwargs.get("non_blocking", len(args) > 2 and name == "aten::copy_" and args[2]))
        if name == READ:
            return _zero(inputs[0].dtype)
        if name == "aten::copy_" and not isinstance(args[0], FakeTensor):
            return args[0]
        args, kwargs = tree_map_only(torch.Tensor, self._fake, (args, kwargs))
        return _on_host(function(*args, **kwargs))

    def _fake(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self._mode.from_tensor(tensor)

    def _note(self, name: str, inputs: list[torch.Tensor], wanted: list[str], asynchronous: bool) -> None:
        """Record an operation if the CPU waits for its result, or for a copy."""
        if name in COPIES and "cuda" in wanted and inputs[0].device.type == "cpu":
            self.copied.append(inputs[0].dtype)
        waits = name == READ or (name in OF_UNKNOWN_SHAPE and len(inputs) > 0)
        waits |= name in COPIES and not all(part.is_contiguous() for part in inputs if part.device.type == "cpu")
        waits |= name.startswith("aten::index_put") and any(part.dtype == torch.bool for part in inputs[1:-1])  # reads where it is true
        places = {part.device.type for part in inputs if part.dim() or name in COPIES[:2]} | set(wanted)
        if waits or (len(places) == 2 and not asynchronous and name != "aten::empty_like"):
            self.waits.append(name)

    def model(self, name: str = "vit_tiny_patch16_224", **kwargs: Any) -> Any:
        """Return a small model on the GPU."""
        model = timm.create_model(name, **(SMALL | kwargs)).eval().requires_grad_(False)
        model._apply(lambda tensor: tensor.to(DEVICE))
        return model

    def batch(self, images: int = 4) -> Batch:
        """Return images, which are in RAM, with their classes on the GPU."""
        pixels = torch.zeros(images, 3, 32, 32, dtype=torch.uint8)
        return Batch(list(range(images)), torch.zeros(images, dtype=torch.int64, device=DEVICE), pixels, Transform(TRANSFORM))

    @contextmanager
    def waiting(self, times: int) -> Iterator[None]:
        """Assert that the CPU waits for the stream so many times within the block, and for nothing else."""
        self.waits.clear()
        self.stream.synchronize.reset_mock()
        yield
        assert self.waits == []
        assert self.stream.synchronize.call_count == times


def _zero(dtype: torch.dtype) -> bool | int | float:
    return False if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0


def _on_host(result: Any) -> Any:
    """Return the result of an operation, with a tensor of zeros instead of a fake tensor of the CPU."""
    if isinstance(result, FakeTensor) and result.device.type == "cpu":
        with unset_fake_temporarily():
            return torch.zeros(result.shape, dtype=result.dtype)
    return result


def _zero_gradients(outputs: Any, inputs: Any, **_: Any) -> tuple[torch.Tensor, ...]:
    """Return gradients without a backward pass, whose engine would start a real GPU."""
    return tuple(torch.zeros_like(part) for part in tree_leaves(inputs))


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """Yield a fake GPU that runs all operations within the block. Pinned memory, which needs a real one, is replaced by RAM."""
    if torch.__version__ < OLDEST:
        pytest.skip(f"FakeTensorMode of torch {torch.__version__} cannot do this")
    stream = Mock()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(transfer, "_pinned", lambda tensor: tensor)
    monkeypatch.setattr(transfer, "_pinned_like", lambda tensor: torch.empty_like(tensor, device="cpu"))
    monkeypatch.setattr(torch.autograd, "grad", _zero_gradients)
    with FakeTensorMode() as mode, FakeGpu(mode, stream) as gpu:
        yield gpu
