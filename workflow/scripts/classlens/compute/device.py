"""Device, precision, batch size and threads of forward passes. Of these, only `precision` changes a result."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from classlens.compute import free_ram, gpus, out_of_memory
from classlens.errors import InputError

Module = TypeVar("Module", bound=nn.Module)

# Images per batch. Larger batches are not faster.
LARGEST_BATCH = {"cpu": 32, "cuda": 256}
# Share of the free RAM or VRAM for the activations that batches keep: a forward pass takes several times as much, and other jobs need the
# same. On a CPU, more than 512 MiB is not faster.
SHARE_OF_FREE = 1 / 8
LARGEST_ON_HOST = 512 * 2**20
# A photograph of 20 megapixels during decoding.
BYTES_PER_WORKER = 64 * 2**20


@dataclass(frozen=True)
class Compute:
    """The device and the settings of forward passes.

    Args:
        device: `cpu`, `cuda`, `cuda:1`...
        batch_size: images per forward pass; None lets `batch_for` choose.
        workers: threads that decode images.
        precision: `float32`, `tf32`, or `bfloat16` for automatic mixed precision.
        mem_mb: RAM of the job, in MiB; None if it is not limited.
    """

    device: torch.device
    batch_size: int | None = None
    workers: int = 1
    precision: str = "float32"
    mem_mb: int | None = None

    @classmethod
    def from_settings(
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
        """Return the `Compute` for a config.

        This also limits torch to `threads` threads, and takes a slot of a GPU until the process ends (`gpus.take`).

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            jobs_per_gpu: number of processes that may use a GPU at once.
            batch_size: images per forward pass, or `auto`.
            workers: threads that decode images, or `auto`.
            precision: `float32`, `tf32` or `bfloat16`.
            threads: CPU threads.
            mem_mb: RAM of the job, in MiB.

        Raises:
            InputError: the device does not exist, or lacks the precision.
        """
        threads = max(1, threads)
        torch.set_num_threads(threads)
        decoding = _workers(threads, mem_mb) if workers == "auto" else int(workers)
        batch = None if batch_size == "auto" else int(batch_size)
        compute = cls(_device(device, jobs_per_gpu), batch, decoding, precision, mem_mb)
        compute.set_matrix_products()
        return compute

    def batch_for(self, on_device: int = 0, on_host: int = 0) -> int:
        """Return the number of images per batch that fits a share of the RAM and VRAM that are free now, up to the device's limit.

        Args:
            on_device: bytes per image of activations that stay on the device until the batch is done.
            on_host: bytes per image of activations that stay in RAM until the batch is done.
        """
        if self.batch_size:
            return self.batch_size
        kept = ((on_host, self._on_host), (on_device, self._on_device))
        return max(1, min(LARGEST_BATCH[self.device.type], *(room() // size for size, room in kept if size)))

    def _on_host(self) -> int:
        return min(LARGEST_ON_HOST, int(SHARE_OF_FREE * free_ram.free_bytes(self.mem_mb)))

    def _on_device(self) -> int:
        if self.device.type == "cpu":
            return self._on_host()
        return int(SHARE_OF_FREE * torch.cuda.mem_get_info(self.device)[0])

    def set_matrix_products(self) -> None:
        """Let a GPU use TF32 if the precision says so, and only then. By default, PyTorch uses it for convolutions alone."""
        is_tf32 = self.precision == "tf32"
        if is_tf32 and self.device.type == "cpu":
            raise InputError("config key `compute.precision` is tf32, which only a GPU has: set it to float32 or bfloat16")
        torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = is_tf32

    def place(self, module: Module) -> Module:
        """Return a module, moved to the device.

        Raises:
            InputError: the VRAM is too small for the module.
        """
        with out_of_memory.refused():
            return module.to(self.device)

    def autocast(self) -> AbstractContextManager:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.precision == "bfloat16" else nullcontext()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Make matrix products in float32 within the block, whatever the precision of forward passes."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _workers(threads: int, mem_mb: int | None) -> int:
    """Return the number of threads that decode images: all threads of the program, or fewer if a share of the free RAM is too small."""
    return max(1, min(threads, int(SHARE_OF_FREE * free_ram.free_bytes(mem_mb)) // BYTES_PER_WORKER))


def _device(name: str, jobs_per_gpu: int) -> torch.device:
    """Return the device for `compute.device`, and take a slot of it if it is a GPU."""
    asked = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else _named(name)
    if asked.type == "cpu":
        return asked
    usable = range(torch.cuda.device_count()) if asked.index is None else [asked.index]
    index = usable[gpus.take([str(torch.cuda.get_device_properties(index).uuid) for index in usable], jobs_per_gpu)]
    torch.cuda.set_device(index)  # allocations without an explicit device use this GPU too
    return torch.device("cuda", index)


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"config key `compute.device` is {name!r}, but must be auto, cpu, cuda or cuda:N") from None
    if device.type not in LARGEST_BATCH:
        raise InputError(f"config key `compute.device` is {name!r}, but must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"config key `compute.device` is {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices: set it to auto"
        )
    return device
