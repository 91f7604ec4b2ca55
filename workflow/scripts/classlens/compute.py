"""How a forward pass runs: device, precision, batch size and threads. None of this but `precision` changes a result."""

import argparse
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from classlens.errors import InputError

LARGEST_BATCH = {"cpu": 32, "cuda": 256}
BYTES_FOR_ACTIVATIONS = 512 * 2**20


@dataclass(frozen=True)
class Compute:
    """Where and how to run.

    Args:
        device: `cpu`, `cuda`, `cuda:1`...
        batch_size: images per forward pass; None lets `batch_for` choose.
        workers: threads that decode images.
        precision: `float32`, or `bfloat16` for automatic mixed precision.
    """

    device: torch.device
    batch_size: int | None = None
    workers: int = 1
    precision: str = "float32"

    def batch_for(self, bytes_per_image: int) -> int:
        """Images per batch when each keeps so many bytes of activations: as many as fit half a gigabyte, within the device's limit."""
        if self.batch_size:
            return self.batch_size
        return max(1, min(LARGEST_BATCH[self.device.type], BYTES_FOR_ACTIVATIONS // max(1, bytes_per_image)))

    def autocast(self) -> AbstractContextManager:
        """The context in which forward passes run."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments from which `from_arguments` makes a `Compute`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--batch-size", default="auto", help="images per forward pass, or auto")
    parser.add_argument("--workers", default="auto", help="threads that decode images, or auto")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="precision of the forward pass")


def from_arguments(args: argparse.Namespace) -> Compute:
    """The `Compute` that a program was asked for; also limits torch to the program's threads.

    Raises:
        InputError: the device does not exist.
    """
    return from_settings(vars(args), args.threads)


def from_settings(settings: Mapping[str, Any], threads: int) -> Compute:
    """The `Compute` that a config's `compute` section asks for; also limits torch to so many threads.

    Raises:
        InputError: the device does not exist.
    """
    threads = max(1, threads)
    torch.set_num_threads(threads)
    workers = threads if settings["workers"] == "auto" else int(settings["workers"])
    batch_size = None if settings["batch_size"] == "auto" else int(settings["batch_size"])
    return Compute(_device(settings["device"]), batch_size, workers, settings["precision"])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
