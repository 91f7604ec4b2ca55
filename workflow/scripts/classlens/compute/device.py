"""How a forward pass runs: device, precision, batch size and threads. None of this but `precision` changes a result."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from classlens.compute import free_memory, gpus, out_of_memory
from classlens.errors import InputError

Module = TypeVar("Module", bound=nn.Module)

# Images per batch beyond which no speed is gained.
LARGEST_BATCH = {"cpu": 32, "cuda": 256}
# What batches may keep of memory that is free: a forward pass takes several times what is kept of it, and other jobs take as much. On a
# processor more than half a gigabyte is no faster.
SHARE_OF_FREE = 1 / 8
LARGEST_ON_HOST = 512 * 2**20
# A photograph of 20 megapixels while it is decoded.
BYTES_PER_WORKER = 64 * 2**20


@dataclass(frozen=True)
class Compute:
    """Where and how to run.

    Args:
        device: `cpu`, `cuda`, `cuda:1`...
        batch_size: images per forward pass; None lets `batch_for` choose.
        workers: threads that decode images.
        precision: `float32`, or `bfloat16` for automatic mixed precision.
        mem_mb: memory of the job, in MiB; None where nobody has promised any.
    """

    device: torch.device
    batch_size: int | None = None
    workers: int = 1
    precision: str = "float32"
    mem_mb: int | None = None

    @classmethod
    def taken(
        cls,
        *,
        device: str,
        jobs_per_gpu: int,
        batch_size: int | str,
        workers: int | str,
        precision: str,
        threads: int,
        mem_mb: int | None = None,
    ) -> "Compute":
        """The `Compute` that a config asks for; also limits torch to so many threads, and takes a GPU for the process's life (`gpus.take`).

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            jobs_per_gpu: how many processes may use a GPU at once.
            batch_size: images per forward pass, or `auto`.
            workers: threads that decode images, or `auto`.
            precision: `float32` or `bfloat16`.
            threads: processor threads.
            mem_mb: memory of the job, in MiB.

        Raises:
            InputError: the device does not exist.
        """
        threads = max(1, threads)
        torch.set_num_threads(threads)
        decoding = _workers(threads, mem_mb) if workers == "auto" else int(workers)
        batch = None if batch_size == "auto" else int(batch_size)
        return cls(_device(device, jobs_per_gpu), batch, decoding, precision, mem_mb)

    def batch_for(self, on_device: int = 0, on_host: int = 0) -> int:
        """Images per batch: as many as fit a share of the memory that is free now, within the device's limit.

        Args:
            on_device: bytes of activations that an image keeps on the device until its batch is done.
            on_host: bytes that it keeps in the machine's memory.
        """
        if self.batch_size:
            return self.batch_size
        kept = ((on_host, self._on_host), (on_device, self._on_device))
        return max(1, min(LARGEST_BATCH[self.device.type], *(room() // size for size, room in kept if size)))

    def _on_host(self) -> int:
        return min(LARGEST_ON_HOST, int(SHARE_OF_FREE * free_memory.free(self.mem_mb)))

    def _on_device(self) -> int:
        if self.device.type == "cpu":
            return self._on_host()
        return int(SHARE_OF_FREE * torch.cuda.mem_get_info(self.device)[0])

    def place(self, module: Module) -> Module:
        """A module on the device.

        Raises:
            InputError: the GPU's memory is too small for it.
        """
        with out_of_memory.refused():
            return module.to(self.device)

    def autocast(self) -> AbstractContextManager:
        """The context in which forward passes run."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def _workers(threads: int, mem_mb: int | None) -> int:
    """Threads that decode images: as many as the program has, if a share of the free memory is enough for them."""
    return max(1, min(threads, int(SHARE_OF_FREE * free_memory.free(mem_mb)) // BYTES_PER_WORKER))


def _device(name: str, jobs_per_gpu: int) -> torch.device:
    """The device that a config asks for, of GPUs one that this process then has a slot of."""
    asked = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else _named(name)
    if asked.type == "cpu":
        return asked
    usable = range(torch.cuda.device_count()) if asked.index is None else [asked.index]
    index = usable[gpus.take([str(torch.cuda.get_device_properties(index).uuid) for index in usable], jobs_per_gpu)]
    torch.cuda.set_device(index)  # what is allocated without naming a device goes there too
    return torch.device("cuda", index)


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"config key `compute.device` is {name!r}, and must be auto, cpu, cuda or cuda:N") from None
    if device.type not in LARGEST_BATCH:
        raise InputError(f"config key `compute.device` is {name!r}, and must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"config key `compute.device` is {name!r}, and this machine has {torch.cuda.device_count()} such devices: set it to auto"
        )
    return device
