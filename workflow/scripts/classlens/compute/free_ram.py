"""The RAM that this process may still take, read from files of the Linux kernel."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")

# File names of a cgroup's limit and usage, and the entry of its `memory.stat` for file cache that the kernel can drop; cgroup v2, and v1.
UNIFIED = ("memory.max", "memory.current", "inactive_file")
LEGACY = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_bytes(job_mb: int | None = None) -> int:
    """Return the free bytes of RAM: the minimum of the machine's free RAM, the headroom of the cgroups, and the job's unused mem_mb.

    Args:
        job_mb: RAM of this process's job, in MiB; None if it is not limited.
    """
    promised = [2**20 * job_mb - _resident()] if job_mb else []
    return max(0, min([*_of_machine(), *_of_groups(), *promised], default=sys.maxsize))


def _resident() -> int:
    with suppress(OSError):
        return int((ROOT / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _of_machine() -> Iterator[int]:
    with suppress(OSError, KeyError):
        yield 1024 * _numbers(ROOT / "proc/meminfo")["MemAvailable:"]


def _of_groups() -> Iterator[int]:
    """Yield the headroom of each cgroup of this process, and of the cgroups above it."""
    try:
        lines = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in ("", "memory"):
            mount, names = ROOT / "sys/fs/cgroup" / controllers, LEGACY if controllers else UNIFIED
            for folder in [mount / path.strip("/"), *(mount / path.strip("/")).parents]:
                if folder.is_relative_to(mount):
                    yield from _left(folder, *names)


def _left(folder: Path, limit: str, used: str, droppable: str) -> Iterator[int]:
    with suppress(OSError, ValueError, KeyError):  # no such cgroup here, or no limit (`max`)
        yield int((folder / limit).read_text()) - int((folder / used).read_text()) + _numbers(folder / "memory.stat")[droppable]


def _numbers(path: Path) -> dict[str, int]:
    """Return the first number of each line, by the line's first word."""
    return {words[0]: int(words[1]) for line in path.read_text().splitlines() if len(words := line.split()) > 1}
