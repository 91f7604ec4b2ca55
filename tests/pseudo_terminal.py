"""A pseudo-terminal, and what a person would see on it."""

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path


class Terminal:
    """A terminal in which a command runs. `seen` is all that it has received, `rows` what it shows, without a limit to its height.

    Args:
        command: the command and its arguments.
    """

    def __init__(self, *command: str | Path):
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
        )
        os.close(theirs)
        self.seen = ""

    def read(self) -> Iterator[str]:
        """Yield what the terminal has received so far, at every piece, until the command has ended."""
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # nobody has it open any more
                break
            if not piece:
                break
            self.seen += piece.decode()
            yield self.seen
        os.close(self._ours)
        self.process.wait()

    def wait(self) -> int:
        for _ in self.read():
            pass
        return self.process.returncode

    @property
    def rows(self) -> list[str]:
        rows: list[str] = []
        for up, text in re.findall(r"\x1b\[(\d+)A\x1b\[J|([^\x1b]+)|\x1b\[\??[\d;]*[a-zA-Z]", self.seen):
            if up:
                assert int(up) <= len(rows)
                del rows[len(rows) - int(up) :]
            else:
                rows += text.replace("\r\n", "\n").split("\n")[:-1] if text.endswith("\n") else [text] if text else []
        return rows
