"""Hashes of files outside the workflow, which are read again only when the files have changed."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from classlens.storage.atomic_write import atomic_write
from classlens.storage.provenance import sha256

FINGERPRINTS = "CLASSLENS_FINGERPRINTS"
"""Environment variable with the path of the memory of fingerprints; without it a program is run by hand."""


class Fingerprints:
    """sha256 of files outside the workflow, read again only when their size, inode, modification or change time differs.

    The memory of what was read is a file that may be deleted at any time; it saves reading a whole data set whenever the workflow is
    planned. The change time cannot be put back as the modification time can. Where a file system keeps none, a job finds by the hash in
    the manifest that an image has changed, and has its fingerprint read again (`forget`).

    Args:
        memory: where to remember hashes; its folder is made on first use. None remembers nothing between processes.
    """

    def __init__(self, memory: Path | None = None):
        self.memory = memory
        self.known: dict[str, list] = {}
        if memory and memory.is_file():
            with suppress(ValueError):  # cut short by a crash: a cache is made anew
                self.known = json.loads(memory.read_text(encoding="utf-8"))

    def of(self, paths: Iterable[Path | str]) -> list[str | None]:
        """Hexadecimal sha256 of each file, in order; None for one that is not there."""
        stamps = {str(path): _stamp(path) for path in paths}
        forgotten = self._forgotten()
        stale = [
            path for path, stamp in stamps.items() if stamp and (self._known(path) != stamp or (forgotten and _mark(path) in forgotten))
        ]
        with ThreadPoolExecutor() as pool:
            for path, digest in zip(stale, pool.map(sha256, stale), strict=True):
                self.known[path] = [*(stamps[path] or ()), digest]
        if stale:
            self._remember()
        for path in stale if forgotten else []:
            if marker := forgotten.get(_mark(path)):
                marker.unlink(missing_ok=True)
        return [self.known[path][-1] if stamp else None for path, stamp in stamps.items()]

    def _known(self, path: str) -> list[int] | None:
        return self.known[path][:-1] if path in self.known else None

    def _forgotten(self) -> dict[str, Path]:
        """Marks of the files that jobs found changed, by name."""
        folder = _marks(self.memory) if self.memory else None
        return {path.name: path for path in folder.iterdir()} if folder and folder.is_dir() else {}

    def _remember(self) -> None:
        if self.memory is None:
            return
        with suppress(OSError), atomic_write(self.memory) as draft:  # a folder that cannot be written costs time, not correctness
            draft.write_text(json.dumps(self.known), encoding="utf-8")


def _stamp(path: Path | str) -> list[int] | None:
    """Return size, inode, modification and change time (ns) of a file; None for what is no regular file: a pipe would never end."""
    try:
        found = os.stat(path)
    except OSError:  # it is not there, or a link that leads to itself
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns] if stat.S_ISREG(found.st_mode) else None


def forget(path: Path | str) -> None:
    """Have the fingerprint of a file read again when the workflow is next planned.

    A mark per file, not a new memory file: jobs on other machines may do the same at once.
    """
    memory = os.environ.get(FINGERPRINTS)
    if not memory:
        return
    with suppress(OSError):  # without the folder of the plan there is nothing to forget
        folder = _marks(Path(memory))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _mark(path)).touch()


def _marks(memory: Path) -> Path:
    return memory.with_suffix(".forgotten")


def _mark(path: Path | str) -> str:
    return hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()
