"""Fingerprints: the sha256 of files outside of the results, which are read again only when they have changed."""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from classlens.storage import notes
from classlens.storage.provenance import sha256, sha256_of

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
        known = notes.read(memory)
        self.files: dict[str, list] = known.get("files", {})
        self.groups: dict[str, dict[str, str]] = known.get("groups", {})

    def of(self, paths: Iterable[Path | str]) -> list[str | None]:
        """Return the hexadecimal sha256 of each file, in order; None for a path that is not a regular file."""
        stamps = {str(path): _stamp(path) for path in paths}
        forgotten = self._forgotten()
        stale = [
            path for path, stamp in stamps.items() if stamp and (self._known(path) != stamp or (forgotten and _mark(path) in forgotten))
        ]
        for path, digest in zip(stale, _read(stale), strict=True):
            self.files[path] = [*(stamps[path] or ()), digest]
        if stale:
            self._remember(forgotten, stale)
        return [self.files[path][-1] if stamp else None for path, stamp in stamps.items()]

    def of_many(self, root: Path, name: str, paths: Iterable[str]) -> str:
        """Return a hash of the paths and contents of any number of files; a path that is not a regular file has no content.

        RAM and the cache file grow only by a line for each thousand files: files are read and remembered in groups, and a changed file has
        its group read again.

        Args:
            root: folder that the paths are relative to.
            name: name of the files, by which the cache file knows them.
            paths: the files in order.
        """
        home, place = str(root), f"{root}: {name}"
        known, forgotten = self.groups.get(place, {}), self._forgotten()
        found: dict[str, str] = {}
        reread = []
        for group in _groups(paths):
            full = [os.path.join(home, path) for path in group]
            stamps = [_stamp(path) for path in full]
            state = sha256_of(*group, repr(stamps))
            digest = known.get(state)
            if digest is None or (forgotten and any(_mark(path) in forgotten for path in full)):
                digests = iter(_read([path for path, stamp in zip(full, stamps, strict=True) if stamp]))
                digest = sha256_of(*group, *(next(digests) if stamp else "" for stamp in stamps))
                reread += full if forgotten else []
            found[state] = digest
        if found != known or reread:
            self.groups[place] = found
            self._remember(forgotten, reread)
        return sha256_of(*found.values())

    def _known(self, path: str) -> list[int] | None:
        return self.files[path][:-1] if path in self.files else None

    def _forgotten(self) -> dict[str, Path]:
        """Return the marks of files that jobs found changed, by the mark's name."""
        folder = _marks(self.memory) if self.memory else None
        return {path.name: path for path in folder.iterdir()} if folder and folder.is_dir() else {}

    def _remember(self, forgotten: dict[str, Path], read: list[str]) -> None:
        """Write the cache file, and remove the marks of files that were read again."""
        notes.write(self.memory, {"files": self.files, "groups": self.groups})
        for path in read if forgotten else []:
            if marker := forgotten.get(_mark(path)):
                marker.unlink(missing_ok=True)


def _read(paths: list[str]) -> list[str]:
    """Return the sha256 of files."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(sha256, paths))


GROUP = 1000
"""Average number of files in a group."""


def _groups(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yield paths in groups. The path alone decides whether a group ends with it, so that a new file changes only one group."""
    group = []
    for path in paths:
        group.append(path)
        if zlib.crc32(path.encode(errors="surrogateescape")) % GROUP == 0:
            yield group
            group = []
    if group:
        yield group


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
