"""Fingerprints: the sha256 of files outside of the results, which are read again only when they have changed."""

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
"""Environment variable with the path of the fingerprint cache. It is unset if a program is run by hand."""


class Fingerprints:
    """The sha256 of files outside of the results, read again only if size, inode, modification time or change time differs.

    A cache file keeps the hashes, so that planning the workflow does not read a whole data set each time. It may be deleted at any time.
    The change time matters because a program can reset the modification time, but not the change time. On a file system without change
    times, a job finds a changed image by the sha256 in the manifest, and has its fingerprint read again (`forget`).

    Args:
        memory: path of the cache file, whose folder is created on first use. None keeps hashes only in this process.
    """

    def __init__(self, memory: Path | None = None):
        self.memory = memory
        self.known: dict[str, list] = {}
        if memory and memory.is_file():
            with suppress(ValueError):  # a crash cut the file short: start with an empty cache
                self.known = json.loads(memory.read_text(encoding="utf-8"))

    def of(self, paths: Iterable[Path | str]) -> list[str | None]:
        """Return the hexadecimal sha256 of each file, in order; None for a path that is not a regular file."""
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
        """Return the marks of files that jobs found changed, by the mark's name."""
        folder = _marks(self.memory) if self.memory else None
        return {path.name: path for path in folder.iterdir()} if folder and folder.is_dir() else {}

    def _remember(self) -> None:
        if self.memory is None:
            return
        with suppress(OSError), atomic_write(self.memory) as draft:  # without the cache, planning is slower but still correct
            draft.write_text(json.dumps(self.known), encoding="utf-8")


def _stamp(path: Path | str) -> list[int] | None:
    """Return size, inode, modification and change time (ns) of a regular file, or None for anything else: reading a pipe never ends."""
    try:
        found = os.stat(path)
    except OSError:  # it does not exist, or is a link to itself
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns] if stat.S_ISREG(found.st_mode) else None


def forget(path: Path | str) -> None:
    """Make the next planning of the workflow read the fingerprint of a file again.

    This creates a mark for the file and does not rewrite the cache, because jobs on other machines may do the same at once.
    """
    memory = os.environ.get(FINGERPRINTS)
    if not memory:
        return
    with suppress(OSError):  # without the folder of the cache there is nothing to forget
        folder = _marks(Path(memory))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _mark(path)).touch()


def _marks(memory: Path) -> Path:
    return memory.with_suffix(".forgotten")


def _mark(path: Path | str) -> str:
    return hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()
