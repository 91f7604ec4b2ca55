"""GPU slots: the number of jobs that may share the machine's GPUs, and a slot that a process holds until it ends.

A slot is the name of an abstract Unix socket, and a process takes a slot by binding a socket to this name. Only one process on the machine
can hold a name at a time, whichever user or Snakemake started it. The kernel frees the name when the process ends, even if it is killed.
This module imports only the standard library, because the workflow counts GPUs each time it is parsed.
"""

import errno
import logging
import os
import socket
import subprocess
import time
from itertools import takewhile
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")
SECONDS_BETWEEN_TRIES = 1.0

log = logging.getLogger("classlens")


def slots(device: str, jobs_per_gpu: int) -> int:
    """Return the number of jobs that may share this machine's GPUs, or 0 if there is no GPU or the device is `cpu`.

    Args:
        device: the config's `compute.device`.
        jobs_per_gpu: the config's `compute.jobs_per_gpu`.
    """
    usable = 0 if device == "cpu" else count()
    return jobs_per_gpu * (min(1, usable) if ":" in device else usable)


def count() -> int:
    """Return the number of NVIDIA GPUs that a process sees: all GPUs of the driver, or those in `CUDA_VISIBLE_DEVICES`."""
    present = _present()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not present:
        return present
    names = (name.strip() for name in chosen.split(","))  # CUDA ignores everything after the first invalid name
    return len(list(takewhile(lambda name: name.startswith(("GPU-", "MIG-")) or (name.isdigit() and int(name) < present), names)))


def _present() -> int:
    """Return the number of GPUs of the driver, which containers and WSL report only by `nvidia-smi`."""
    if DRIVER.is_dir():
        return len(list(DRIVER.iterdir()))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


_held: dict[str, socket.socket] = {}  # by GPU; a socket holds its name while it is open


def take(names: list[str], jobs_per_gpu: int) -> int:
    """Take a slot of a GPU until this process ends, and return the index of the GPU in `names`.

    A process that already holds a slot keeps it. While all slots are taken, this function waits.

    Args:
        names: a name of each usable GPU, the same in all processes of the machine.
        jobs_per_gpu: number of slots per GPU.
    """
    told = False
    while not (mine := [index for index, name in enumerate(names) if name in _held]):
        if any(_bound(name, slot) for slot in range(jobs_per_gpu) for name in names):  # fill idle GPUs before a GPU gets a second job
            continue
        if not told:
            log.info("waiting for a GPU: other jobs use all %d (compute.jobs_per_gpu is %d)", len(names), jobs_per_gpu)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    return mine[0]


def _bound(name: str, slot: int) -> bool:
    """Take a slot of a GPU, and return whether it was free."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(f"\0classlens {name} {slot}")
    except OSError as error:
        found.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    _held[name] = found
    return True
