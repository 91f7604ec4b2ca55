"""The running and finished jobs of a run, as lines for people."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from classlens.errors import printable
from classlens.terminal.job_log import TimeLeft, last_progress

NARROWEST = 20
"""Least width of the column with the names of jobs."""


def clock(seconds: float) -> str:
    """Return a duration as `0:41` or `3:20:05`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass
class Job:
    """A running job.

    Attributes:
        name: what the job does.
        log: the log of its program, or None.
        started: its start in seconds since the epoch; on a cluster, when it was submitted.
    """

    name: str
    log: Path | None
    started: float
    _time_left: TimeLeft = field(default_factory=TimeLeft)

    def progress(self, now: float) -> str:
        """Return the progress of the job's current loop with the time left, or an empty text."""
        found = last_progress(self.log, self.started) if self.log else None
        if not found:
            return ""
        left = self._time_left(found, now)
        told = f"{printable(found.what)}: {found.done} of {found.total} {printable(found.unit)}"
        return told if left is None else f"{told}, {clock(left)} left"


class RunState:
    """The jobs of a run. Threads may share it.

    Args:
        logs: folder of the jobs' logs.
    """

    def __init__(self, logs: str):
        self._logs = logs
        self._targets: frozenset[str] = frozenset()
        self._lock = Lock()
        self._jobs: dict[int, Job] = {}
        self._total = self._done = 0
        self._began = time.time()

    def begin(self, counts: Mapping[str, int], targets: frozenset[str], now: float) -> str:
        """Start the clock and return a line about the run.

        Args:
            counts: number of jobs by rule.
            targets: names of rules without a command. Their jobs are not counted.
            now: current time in seconds since the epoch.
        """
        self._targets, self._began = targets, now
        self._total = sum(count for rule, count in counts.items() if rule not in {"total", *targets})
        return f"{self._jobs_of(self._total)}. Logs: {self._logs}"

    def start(self, number: int, rule: str, job: Job) -> None:
        """Add a running job, by its number in Snakemake."""
        if rule not in self._targets:
            with self._lock:
                self._jobs[number] = job

    def fail(self, number: int) -> None:
        """Remove a failed job."""
        with self._lock:
            self._jobs.pop(number, None)

    def finish(self, number: int, now: float) -> str | None:
        """Remove a finished job. Return a line about it, or None for a target."""
        with self._lock:
            job = self._jobs.pop(number, None)
        if not job:
            return None
        self._done += 1
        return f"[{self._done} of {self._total}, {clock(now - self._began)}] {job.name} took {clock(now - job.started)}"

    def lines(self, now: float, width: int, height: int) -> list[str]:
        """Return a line for each running job, and one for the whole run.

        Args:
            now: current time in seconds since the epoch.
            width: characters per line.
            height: maximum number of lines, at least 1.
        """
        with self._lock:
            jobs = list(self._jobs.values())
        room = max(0, height - 1)
        shown = jobs if len(jobs) <= room else jobs[: max(0, room - 1)]
        rows = [(job.name, clock(now - job.started), job.progress(now)) for job in shown]
        taken = max((len(progress) for _, _, progress in rows), default=0)
        column = max(NARROWEST, min(max((len(name) for name, _, _ in rows), default=0), width - taken - len("  0:00:00  ")))
        lines = [f"{_shortened(name, column):{column}}  {since:>7}  {progress}".rstrip() for name, since, progress in rows]
        if len(shown) < len(jobs):
            lines.append(f"and {len(jobs) - len(shown)} more running jobs")
        whole = f"{self._done} of {self._jobs_of(self._total)} done, {len(jobs)} running, {clock(now - self._began)}. Logs: {self._logs}"
        return [line[:width] for line in [*lines, whole][-height:]]

    @staticmethod
    def _jobs_of(count: int) -> str:
        return "1 job" if count == 1 else f"{count} jobs"


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
