"""Snakemake's output during a run: a line for each finished job and, on a terminal, a line for each running one.

This is a handler of Snakemake's logger plugin interface. The workflow itself gives it to Snakemake, because `--logger NAME` would end a
run in an environment in which no such plugin is installed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING, LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from classlens.errors import printable
from classlens.terminal.run_state import Job, RunState
from classlens.terminal.screen import Screen

SKIPPED = {LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.JOB_STARTED, LogEvent.GROUP_INFO, LogEvent.SHELLCMD}
SKIPPED |= {LogEvent.PROGRESS, LogEvent.RULEGRAPH, LogEvent.DEBUG_DAG}
# Messages without an event that tell nothing about this run.
ROUTINE = (
    "Building DAG",
    "Using shell:",
    "Conda environments: ignored",
    "Singularity containers: ignored",
    "Group jobs: inactive",
    "Select jobs to execute",
)
COLOURS = {WARNING: 33, ERROR: 31}


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """What the handler knows of the workflow.

    Attributes:
        logs: folder of the jobs' logs.
        targets: function that returns the names of rules without a command, as soon as all rules are known.
    """

    logs: str = ""
    targets: Callable[[], frozenset[str]] = frozenset


class LogHandler(LogHandlerBase):
    """Writes a run's messages for people. Errors and warnings are Snakemake's own, by its formatter."""

    settings: LogHandlerSettings
    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Begin with no jobs."""
        self._run = RunState(self.settings.logs)
        self._screen = Screen(lambda width, height: self._run.lines(time.time(), width, height))

    def emit(self, record: LogRecord) -> None:
        """Print the lines about an event."""
        try:
            for line in self._lines(record):
                self._print(line, record.levelno)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Give the terminal back."""
        if self._screen.is_open:
            self._screen.close()
        super().close()

    def _lines(self, record: LogRecord) -> Iterator[str]:
        facts, event = record.__dict__, getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            yield self._run.begin(facts["stats"], self.settings.targets(), record.created)
            if _draws():
                self._screen.open()
        elif event == LogEvent.JOB_INFO:
            name = printable(facts["rule_msg"] or facts["rule_name"])
            log = Path(facts["log"][0]) if facts["log"] else None
            self._run.start(facts["jobid"], facts["rule_name"], Job(name, log, record.created))
        elif event == LogEvent.JOB_FINISHED:
            if line := self._run.finish(facts["job_id"], record.created):
                yield line
        elif event not in SKIPPED and not (record.levelno == INFO and str(record.msg).startswith(ROUTINE)):
            if event == LogEvent.JOB_ERROR:
                self._run.fail(facts["jobid"])
            if text := self.format(record):
                yield text
            if event == LogEvent.GROUP_ERROR:
                yield from causes(facts["aux_logs"])

    def _print(self, text: str, level: int) -> None:
        if not self._screen.is_open:
            print(text, file=sys.stderr, flush=True)
            return
        plain = self.common_settings.nocolor or level not in COLOURS
        self._screen.write(text if plain else f"\033[{COLOURS[level]}m{text}\033[0m")


def causes(logs: list[str]) -> Iterator[str]:
    """Yield the lines in which Slurm says why it ended a group of jobs, such as its time limit. Snakemake does not print them."""
    for log in filter(os.path.exists, logs):
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
        yield from (printable(line) for line in lines if line.startswith("slurmstepd") and "*** STEP" not in line)


def _draws() -> bool:
    """Return whether standard error is a terminal that can move its cursor."""
    return os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"
