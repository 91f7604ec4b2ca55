"""What a search of folders has found, so that it is repeated only if one of the folders that it read has changed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from classlens.storage import notes

Found = TypeVar("Found")

SETTLED = 10_000_000_000
"""Age of a folder's last change in nanoseconds, from which on the next change gets another time: clocks of file systems tick every two
seconds (FAT) or faster, and those of servers differ a little."""


@dataclass
class Search:
    """The folders that a search has read.

    Attributes:
        stamps: `_stamp` of each folder, from before it was read.
        can_last: whether each later change of what was found changes a stamp.
    """

    stamps: dict[str, list[int]] = field(default_factory=dict)
    can_last: bool = True


_SEARCH: ContextVar[Search | None] = ContextVar("search", default=None)


def reads(folder: Path) -> None:
    """Note that the search in progress, if there is one, is about to read a folder."""
    if search := _SEARCH.get():
        stamp = _stamp(folder)
        search.can_last = search.can_last and stamp is not None and max(stamp[1:]) + SETTLED < time.time_ns()
        search.stamps[str(folder)] = stamp or []


def depends_on_more() -> None:
    """Note that the search in progress, if there is one, depends on something else than folders, such as the target of a link."""
    if search := _SEARCH.get():
        search.can_last = False


def _stamp(folder: Path | str) -> list[int] | None:
    """Return inode, modification time and change time (ns) of a folder, or None if there is none.

    The device is no part of it, because a network file system has another number on each machine.
    """
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


class Searches:
    """The results of searches in folders, which are repeated only if a folder's inode, modification time or change time differs.

    Where inodes change without a reason, each search is repeated.

    Args:
        memory: path of the file that keeps the results, which may be deleted at any time. None keeps nothing.
    """

    def __init__(self, memory: Path | None = None):
        self.memory = memory
        self.known = notes.read(memory)

    def result(self, name: str, version: str, search: Callable[[], Found]) -> Found:
        """Return the result of a search, which must be a value for JSON.

        Args:
            name: name of the search.
            version: a text that differs if the result may differ although the folders are the same.
            search: the search, which calls `reads` before it reads a folder.
        """
        known = self.known.get(name)
        if known and known["version"] == version and all(_stamp(folder) == stamp for folder, stamp in known["stamps"].items()):
            return known["result"]
        with _watched() as watched:
            result = search()
        if watched.can_last and self.memory:
            self.known[name] = {"version": version, "stamps": watched.stamps, "result": result}
            notes.write(self.memory, self.known)
        return result

    def forget(self, name: str) -> None:
        """Forget the result of a search, which turned out to be wrong."""
        if self.known.pop(name, None):
            notes.write(self.memory, self.known)


@contextmanager
def _watched() -> Iterator[Search]:
    token = _SEARCH.set(search := Search())
    try:
        yield search
    finally:
        _SEARCH.reset(token)
