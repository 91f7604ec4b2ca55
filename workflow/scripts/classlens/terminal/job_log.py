"""The progress of a job, read from the last lines of its log.

`classlens.progress` writes these lines. The imports are light, because the workflow uses this module whenever it runs.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

LOOP = re.compile(r"(?P<what>.+): (?P<done>\d+) of (?P<total>\d+) (?P<unit>.+), (?P<rate>[\d.]+) per second")
ENDED = re.compile(r"(?P<what>.+): \d+ .+ in [\d.]+ s")
TAIL = 16384
"""Bytes at the end of a log in which progress is looked for."""
LEAST_RATE = 0.25
"""Smallest rate in a log that gives the time left: one decimal makes an error of at most 20 %."""


@dataclass(frozen=True)
class Progress:
    """The progress of a loop: `done` of `total` units, at `rate` units per second since its start."""

    what: str
    done: int
    total: int
    unit: str
    rate: float


def last_progress(log: Path, since: float) -> Progress | None:
    """Return the progress of a job's current loop, of nested loops the outermost one, or None if its log has none.

    Args:
        log: the job's log; it may be missing.
        since: start of the job in seconds since the epoch. An older log is that of an earlier run.
    """
    running: dict[str, Progress] = {}
    for line in _last_lines(log, since):
        if found := LOOP.fullmatch(line):  # an outer loop stays in its place while inner ones end and begin again
            running[found["what"]] = Progress(found["what"], int(found["done"]), int(found["total"]), found["unit"], float(found["rate"]))
        elif ended := ENDED.fullmatch(line):
            running.pop(ended["what"], None)
    return next(iter(running.values()), None)


def _last_lines(log: Path, since: float) -> list[str]:
    """Return the last complete lines of a log, or none if it is missing or from before the job."""
    try:
        with log.open("rb") as file:
            if log.stat().st_mtime < since:
                return []
            start = max(0, file.seek(0, 2) - TAIL)
            file.seek(start)
            text = file.read(TAIL).decode(errors="replace")
    except OSError:
        return []
    lines = text.split("\n")[:-1]
    return lines[1:] if start else lines


@dataclass
class TimeLeft:
    """Estimates the time left of a job's current loop, from the progress that its log has had so far."""

    _first: tuple[Progress, float] | None = field(default=None, init=False)
    _last: tuple[Progress, float] | None = field(default=None, init=False)

    def __call__(self, progress: Progress, now: float) -> float | None:
        """Return the seconds left, or None if nothing tells them yet.

        Args:
            progress: from `last_progress`.
            now: current time in seconds.
        """
        if not self._first or not self._last or progress.what != self._last[0].what or progress.done < self._last[0].done:
            self._first = self._last = progress, now
        elif progress.done > self._last[0].done:
            self._last = progress, now
        (first, seen_first), (last, seen_last) = self._first, self._last
        if last.done > first.done:
            rate = (last.done - first.done) / (seen_last - seen_first)
        elif progress.rate >= LEAST_RATE:
            rate = progress.rate
        else:
            return None
        return max(0.0, (last.total - last.done) / rate - (now - seen_last))
