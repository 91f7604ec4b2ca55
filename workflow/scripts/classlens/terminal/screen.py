"""Lines at the bottom of a terminal that change in place, below everything that is printed."""

import os
import sys
from collections.abc import Callable
from select import select
from threading import Event, Lock, Thread

from classlens.errors import printable

SECONDS = 1.0
"""Time between two drawings."""
BYTES = 65536
COLUMNS, ROWS = 80, 24
"""Size of a terminal that does not tell its size."""
# Lines longer than the terminal's width end at its edge, so that each takes one row.
NO_WRAP, WRAP = "\033[?7l", "\033[?7h"


class Screen:
    """A terminal with lines at its bottom.

    While it is open, standard error and output of this process and its children are a pipe. What they write appears above the lines.
    Children therefore draw no progress bars of their own.

    Args:
        lines: function that returns the lines, from the terminal's width and height.
    """

    def __init__(self, lines: Callable[[int, int], list[str]]):
        self._lines = lines
        self._drawn = 0
        self._lock = Lock()
        self._ending = Event()
        self._saved: dict[int, int] = {}
        self._threads: list[Thread] = []

    @property
    def is_open(self) -> bool:
        """Whether the screen is open."""
        return bool(self._saved)

    def open(self) -> None:
        """Redirect what is printed, and begin to draw."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = {number: os.dup(number) for number in (2, 1) if os.isatty(number)}
        self._terminal = self._saved[2]
        self._printed, printing = os.pipe()
        for number in self._saved:
            os.dup2(printing, number)
        os.close(printing)
        self._threads = [Thread(target=work, daemon=True) for work in (self._pass_on, self._redraw)]
        for thread in self._threads:
            thread.start()

    def write(self, text: str) -> None:
        """Print lines of text above the lines at the bottom."""
        self._draw(f"{text}\n".encode(errors="replace"))

    def close(self) -> None:
        """Remove the lines at the bottom and restore standard error and output."""
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in self._saved.items():
            os.dup2(saved, number)
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._draw(b"", last=True)
        for descriptor in (*self._saved.values(), self._printed):
            os.close(descriptor)
        self._saved = {}

    def _pass_on(self) -> None:
        """Print what arrives in the pipe, line by line, until the screen closes and the pipe is empty."""
        begun = b""
        while True:
            if not select([self._printed], [], [], 0.1)[0]:
                if self._ending.is_set():
                    break
                continue
            arrived = os.read(self._printed, BYTES)
            if not arrived:
                break  # nobody can write any more
            *complete, begun = (begun + arrived).split(b"\n")
            begun = _overwritten(begun)
            if complete:
                self._draw(b"".join(_overwritten(line) + b"\n" for line in complete))
        if begun:
            self._draw(begun + b"\n")

    def _redraw(self) -> None:
        while not self._ending.wait(SECONDS):
            self._draw(b"")

    def _draw(self, printed: bytes, last: bool = False) -> None:
        """Remove the lines at the bottom, print above them, and write them again, in one piece."""
        try:
            lines = [] if last else self._shown()
            with self._lock:
                erased = f"\033[{self._drawn}A\033[J" if self._drawn else ""
                drawn = "\n".join([NO_WRAP + lines[0], *lines[1:], WRAP]) if lines else ""
                self._drawn = len(lines)
                _write(self._terminal, erased.encode() + printed + drawn.encode(errors="replace"))
        except OSError:
            pass  # the terminal is gone; the pipe must still be read, or those that print would wait for ever

    def _shown(self) -> list[str]:
        """Return the lines for the terminal's present size."""
        columns, rows = os.get_terminal_size(self._terminal)
        try:
            return self._lines(columns or COLUMNS, max(2, rows or ROWS) - 1)
        except Exception as error:  # a thread that ended here would no longer read the pipe
            return [f"the progress of the run cannot be shown: {type(error).__name__}: {printable(str(error))}"]


def _overwritten(line: bytes) -> bytes:
    """Return what is visible of a line that was written over itself."""
    return line.rstrip(b"\r").rsplit(b"\r", 1)[-1]


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
