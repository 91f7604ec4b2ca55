"""Copies between the CPU and a GPU, which wait for the GPU as rarely as possible.

A copy to or from pageable memory stops the CPU until the GPU has done all its work. Copies through pinned memory run beside it.
Source: PyTorch's notes on CUDA semantics, "Use pinned memory buffers".
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from typing import TypeVar

import torch
from torch import Tensor

from classlens.storage.hidden_states import StoredStates

Result = TypeVar("Result")
Recorded = dict[str, tuple[Tensor, ...]]
"""Tensors by name."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for the copy to a GPU. A tensor that is there already is not copied."""
    if device.type == "cpu" or _is_on_gpu(tensor):
        return tensor.to(device)
    return _pinned(tensor.contiguous()).to(device, non_blocking=True)  # others would be copied once more, through pageable memory


def _is_on_gpu(tensor: Tensor) -> bool:
    return tensor.device.type != "cpu"


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory()


def states_to_device(states: StoredStates, device: torch.device, part: slice = slice(None)) -> Tensor:
    """Return stored hidden states on a device, float32 [..., width]. The device converts float16, so that half the bytes are copied.

    Args:
        states: the states.
        device: the device.
        part: rows of the first axis to return.
    """
    values = to_device(torch.from_numpy(states.values[part].copy()), device)  # Arrow's is read-only, of which torch warns
    return values if states.scale is None else values.float() * to_device(torch.from_numpy(states.scale[part]), device)[..., None]


def tensors_to_host(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors on the CPU. If they are on a GPU, all copies run together, and the CPU waits once."""
    copies = tuple(map(_copy_to_host, tensors))
    for device in {tensor.device for tensor in tensors if _is_on_gpu(tensor)}:
        torch.cuda.current_stream(device).synchronize()
    return copies


def to_host(found: Mapping[str, tuple[Tensor, ...]]) -> Recorded:
    """Return tensors by name on the CPU, as `tensors_to_host` does."""
    copies = iter(tensors_to_host(*chain.from_iterable(found.values())))
    return {name: tuple(islice(copies, len(tensors))) for name, tensors in found.items()}


def _copy_to_host(tensor: Tensor) -> Tensor:
    if not _is_on_gpu(tensor):
        return tensor
    return _pinned_like(tensor).copy_(tensor, non_blocking=True)


def _pinned_like(tensor: Tensor) -> Tensor:
    # A copy into another order of dimensions would go through pageable memory, and the CPU would wait.
    return torch.empty_like(tensor, device="cpu", pin_memory=True, memory_format=torch.contiguous_format)


_noted: ContextVar[list[Tensor] | None] = ContextVar("noted", default=None)
_NOTED = "conditions"


def rarely(condition: Tensor) -> bool:
    """Return a condition, bool [], that is rarely true. Inside `waiting_once`, the CPU does not wait for it (see there)."""
    noted = _noted.get()
    if noted is None or not _is_on_gpu(condition):
        return bool(condition)
    noted.append(condition)
    return False


def waiting_once(run: Callable[[], Mapping[str, tuple[Tensor, ...]]]) -> Recorded:
    """Return the tensors that `run` computes, on the CPU, which waits for a GPU once.

    On a GPU, each condition that `run` gives to `rarely` first counts as false, and all are read together with the tensors. If one is true,
    `run` runs again and waits for each of them, so that it raises its error.
    """
    noted: list[Tensor] = []
    before = _noted.set(noted)
    try:
        found = run()
    finally:
        _noted.reset(before)
    host = to_host({**found, _NOTED: (torch.stack(noted).any(),) if noted else ()})
    return to_host(run()) if any(map(_is_true, host.pop(_NOTED))) else host


def _is_true(condition: Tensor) -> bool:
    return bool(condition)


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
