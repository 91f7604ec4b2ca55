"""Copies between the CPU and a GPU, which wait for the GPU as rarely as possible.

A copy to or from pageable memory stops the CPU until the GPU has done all its work. Copies through pinned memory run beside it.
Source: PyTorch's notes on CUDA semantics, "Use pinned memory buffers".
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
Recorded = dict[str, tuple[Tensor, ...]]
"""Tensors by name."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for the copy to a GPU."""
    return tensor.to(device) if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def to_host(found: Mapping[str, tuple[Tensor, ...]]) -> Recorded:
    """Return tensors on the CPU. If they are on a GPU, all copies run together, and the CPU waits once."""
    copies = {name: tuple(map(_copy_to_host, tensors)) for name, tensors in found.items()}
    for device in {tensor.device for tensors in found.values() for tensor in tensors if tensor.device.type != "cpu"}:
        torch.cuda.current_stream(device).synchronize()
    return copies


def _copy_to_host(tensor: Tensor) -> Tensor:
    if tensor.device.type == "cpu":
        return tensor
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)


@contextmanager
def writing_beside(device: torch.device, write: Callable[[Result], None]) -> Iterator[Callable[[Result], None]]:
    """Yield a function that writes a result, for a GPU in a thread, so that the GPU computes the next result meanwhile.

    At most one result waits. A CPU writes at once: its cores have no time left. An error of `write` is raised at the next result, or at the
    end of the block.
    """
    if device.type == "cpu":
        yield write
        return
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[None]] = []

        def submit(result: Result) -> None:
            if waiting:
                waiting.pop().result()
            waiting.append(pool.submit(write, result))

        yield submit
        if waiting:
            waiting.pop().result()
