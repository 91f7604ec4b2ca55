"""The machine's GPUs as slots: how many jobs may use them at once, and a slot for the life of a process.

A slot is a name in the kernel's table of abstract sockets, which a process takes by binding it: one process has it at a time, whoever
started it and in whatever Snakemake, and the kernel gives it back when the process ends, however it ends. Nothing here imports more than
the standard library, because the workflow counts GPUs whenever it is parsed.
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
    """How many jobs may use GPUs of this machine at once; 0 where there are none, or none are asked for.

    Args:
        device: the config's `compute.device`.
        jobs_per_gpu: the config's `compute.jobs_per_gpu`.
    """
    usable = 0 if device == "cpu" else count()
    return jobs_per_gpu * (min(1, usable) if ":" in device else usable)


def count() -> int:
    """NVIDIA GPUs that a process started here sees: those of the driver, or those of them that `CUDA_VISIBLE_DEVICES` names."""
    present = _present()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not present:
        return present
    names = (name.strip() for name in chosen.split(","))  # CUDA ignores what comes after the first that is none
    return len(list(takewhile(lambda name: name.startswith(("GPU-", "MIG-")) or (name.isdigit() and int(name) < present), names)))


def _present() -> int:
    """GPUs of the driver, which containers and WSL tell of by `nvidia-smi` only."""
    if DRIVER.is_dir():
        return len(list(DRIVER.iterdir()))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


_held: dict[str, socket.socket] = {}  # by GPU; open sockets keep their names


def take(names: list[str], jobs_per_gpu: int) -> int:
    """Index of a GPU that this process has a slot of, from now on until it ends; waits while all slots are taken.

    Args:
        names: a name of each GPU that will do, the same in all processes of the machine.
        jobs_per_gpu: slots of each.
    """
    told = False
    while not (mine := [index for index, name in enumerate(names) if name in _held]):
        if any(_bound(name, slot) for slot in range(jobs_per_gpu) for name in names):  # idle GPUs come before second jobs
            continue
        if not told:
            log.info("waiting for a GPU: other jobs have all %d (compute.jobs_per_gpu is %d)", len(names), jobs_per_gpu)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    return mine[0]


def _bound(name: str, slot: int) -> bool:
    """Whether a slot of a GPU was free, and is now this process's."""
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
