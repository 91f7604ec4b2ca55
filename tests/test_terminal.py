"""The lines about a run, from logs and recorded events, and the screen that shows them."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import Terminal
from snakemake.logging import DefaultFormatter
from snakemake.settings.types import OutputSettings
from snakemake_interface_logger_plugins.common import LogEvent

import run_output
from classlens.terminal.job_log import Progress, TimeLeft, last_progress
from classlens.terminal.run_state import Job, RunState, clock
from run_output import LogHandler, LogHandlerSettings

# The progress of a job


def test_progress_is_that_of_the_current_loop(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    assert last_progress(log, 0) is None
    log.write_text(
        "reading training images: 400 images in 0.6 s\nepoch 1: loss 2.2\ntraining: 4 of 24 epochs, 0.3 per second\nepoch 5: loss 1\n"
    )
    assert last_progress(log, 0) == Progress("training", 4, 24, "epochs", 0.3)
    with log.open("a") as file:
        file.write("training: 24 ep")
    assert last_progress(log, 0) == Progress("training", 4, 24, "epochs", 0.3)  # this line is not complete
    with log.open("a") as file:
        file.write("ochs in 71.5 s\n")
    assert last_progress(log, 0) is None


def test_of_nested_loops_the_outermost_counts(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    shown = []
    for line in (
        "removing tokens of 32 images: 3 of 13 steps, 0.3 per second",
        "removing tokens of 32 images: 13 steps in 40.0 s",
        "deletion: 32 of 200 images, 0.8 per second",
        "removing tokens of 32 images: 2 of 13 steps, 0.3 per second",
        "removing tokens of 32 images: 13 steps in 41.0 s",
        "deletion: 64 of 200 images, 0.8 per second",
        "deletion: 200 images in 250.0 s",
    ):
        with log.open("a") as file:
            file.write(f"{line}\n")
        found = last_progress(log, 0)
        shown.append(found and (found.what[:8], found.done))
    outer = [("deletion", 32)] * 3 + [("deletion", 64)]
    assert shown == [("removing", 3), None, *outer, None]


def test_an_earlier_runs_log_tells_nothing(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("deletion: 10 of 200 images, 3.0 per second\n")
    os.utime(log, (1000, 1000))
    assert last_progress(log, 999)
    assert last_progress(log, 1001) is None


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    lines = [f"deletion: {done} of 100000 images, 3.0 per second" for done in range(1, 5001)]
    log.write_text("\n".join(lines) + "\n")
    assert last_progress(log, 0) == Progress("deletion", 5000, 100000, "images", 3.0)
    log.write_text(f"{lines[0]}\n{'x' * 20000}\n")
    assert last_progress(log, 0) is None


def loop(done: int, rate: float = 0.0, what: str = "training") -> Progress:
    return Progress(what, done, 20, "epochs", rate)


def test_time_left_follows_the_loop() -> None:
    left = TimeLeft()
    assert left(loop(1), 100) is None  # 0.0 per second
    assert left(loop(1), 110) is None
    assert left(loop(3), 140) == pytest.approx(17 * 20)
    assert left(loop(3), 150) == pytest.approx(17 * 20 - 10)
    assert left(loop(3), 1000) == 0
    assert left(loop(5), 1000) == pytest.approx(15 * 900 / 4)
    assert left(loop(2, what="validation"), 1001) is None
    assert TimeLeft()(loop(10, 0.5), 7) == pytest.approx(20)


# Lines


def test_durations_are_like_those_of_a_clock() -> None:
    assert [clock(seconds) for seconds in (-1, 0.4, 59.6, 61, 3600, 36061)] == ["0:00", "0:00", "1:00", "1:01", "1:00:00", "10:01:01"]


@pytest.fixture
def state(tmp_path: Path) -> RunState:
    """Three jobs run, of which one has progress; a fourth has ended."""
    state = RunState("results/x/logs/")
    assert state.begin({"train": 2, "figure_a": 3, "all": 1, "total": 6}, frozenset({"all"}), 1000) == "5 jobs. Logs: results/x/logs/"
    log = tmp_path / "train.log"
    log.write_text("training: 8 of 24 epochs, 0.5 per second\n")
    state.start(1, "train", Job("Training the model cls", log, 1000))
    state.start(2, "train", Job("Training the model pooled", tmp_path / "none.log", 1010))
    state.start(3, "figure_a", Job("Drawing figure F1", None, 1020))
    state.start(4, "figure_a", Job("Drawing figure F2", None, 1020))
    assert state.finish(4, 1065) == "[1 of 5, 1:05] Drawing figure F2 took 0:45"
    return state


def test_every_running_job_has_a_line(state: RunState) -> None:
    assert state.lines(1070, 100, 24) == [
        "Training the model cls        1:10  training: 8 of 24 epochs, 0:32 left",
        "Training the model pooled     1:00",
        "Drawing figure F1             0:50",
        "1 of 5 jobs done, 3 running, 1:10. Logs: results/x/logs/",
    ]


def test_lines_fit_the_terminal(state: RunState) -> None:
    for width, height in ((1, 1), (20, 2), (60, 3), (70, 4), (200, 50)):
        lines = state.lines(1070, width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
    assert state.lines(1070, 65, 3)[:2] == ["Training the model …     1:10  training: 8 of 24 epochs, 0:32 lef", "and 2 more running jobs"]


def test_targets_are_no_jobs(state: RunState) -> None:
    state.start(9, "all", Job("all", None, 1070))
    assert state.finish(9, 1071) is None
    assert "1 of 5 jobs done, 3 running" in state.lines(1071, 100, 24)[-1]


# The handler


class Events:
    """A handler to which recorded events are given."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys
        self._handler = LogHandler(OutputSettings(), LogHandlerSettings("results/x/logs/", lambda: frozenset({"all"})))
        self._handler.setFormatter(DefaultFormatter(quiet=None))

    def __call__(self, event: LogEvent | None, message: str | None = None, level: int = logging.INFO, **facts: Any) -> str:
        """Send an event and return what is printed."""
        record = logging.makeLogRecord(
            {"msg": message, "levelno": level, "levelname": logging.getLevelName(level), "event": event, **facts}
        )
        self._handler.handle(record)
        return self._capsys.readouterr().err

    def job(self, number: int, rule: str = "train", message: str | None = "Training\nthe model m") -> str:
        return self(LogEvent.JOB_INFO, jobid=number, rule_name=rule, rule_msg=message, log=["results/x/logs/m.log"])


ERROR = {"rule_name": "train", "rule_msg": None, "jobid": 1, "input": [], "output": ["m"], "log": ["m.log"], "aux": {}, "indent": False}
ERROR |= {"conda_env": None, "shellcmd": "python train.py"}


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Events:
    return Events(capsys)


def test_each_finished_job_is_one_line(events: Events) -> None:
    assert events(LogEvent.RUN_INFO, "Job stats", stats={"train": 2, "all": 1, "total": 3}) == "2 jobs. Logs: results/x/logs/\n"
    assert events(LogEvent.JOB_STARTED, "Execute 2 jobs...", jobs=[1, 2]) == events.job(1) == events.job(2, message=None) == ""
    assert events(LogEvent.JOB_FINISHED, job_id=2) == "[1 of 2, 0:00] train took 0:00\n"
    assert events(LogEvent.PROGRESS, done=1, total=3) == ""
    assert events(LogEvent.JOB_FINISHED, job_id=1) == r"[2 of 2, 0:00] Training\nthe model m took 0:00" + "\n"
    assert events.job(3, "all") == events(LogEvent.JOB_FINISHED, job_id=3) == ""


def test_errors_are_those_of_snakemake(events: Events) -> None:
    events(LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
    events.job(1)
    printed = events(LogEvent.JOB_ERROR, "Error in rule train", logging.ERROR, **ERROR)
    expected = DefaultFormatter(quiet=None).format(logging.makeLogRecord({"msg": "Error", "event": LogEvent.JOB_ERROR, **ERROR}))
    assert printed.splitlines()[1:] == expected.splitlines()[1:]  # the first line is the date
    assert "log: m.log (check log file(s) for error details)" in printed
    assert events(None, "Trying to restart job 1.") == "Trying to restart job 1.\n"
    events.job(1)
    assert events(LogEvent.JOB_FINISHED, job_id=1).startswith("[1 of 1,")


def test_only_routine_messages_are_left_out(events: Events) -> None:
    assert events(None, "Building DAG of jobs...") == events(LogEvent.RESOURCES_INFO, "Provided cores: 2") == ""
    for message in (
        "Nothing to be done (all requested files are present and up to date).",
        "SLURM run ID: classlens_1",
        "Complete log(s): x",
    ):
        assert events(None, message) == f"{message}\n"
    assert events(None, "Building DAG of jobs failed", logging.WARNING) == "Building DAG of jobs failed\n"
    assert events(LogEvent.ERROR, "WorkflowError", logging.ERROR) == "WorkflowError\n"


def test_an_event_that_is_not_understood_ends_nothing(events: Events) -> None:
    assert "KeyError: 'stats'" in events(LogEvent.RUN_INFO)


@pytest.mark.parametrize(("kind", "terminal", "draws"), [("xterm", True, True), ("dumb", True, False), ("xterm", False, False)])
def test_lines_change_only_on_a_terminal_that_can(kind: str, terminal: bool, draws: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(os, "isatty", lambda number: terminal)
    assert run_output._draws() is draws


# A terminal


PROGRAM = """
import os, subprocess, sys, time
sys.path.insert(0, {scripts!r})
from classlens.terminal import screen
screen.SECONDS = 0.05
made = screen.Screen(lambda width, height: [f"line {{width > 0}}", "total"])
made.open()
made.write("first")
subprocess.run([sys.executable, "-c", "import sys; print(sys.stderr.isatty()); print('bar 1\\\\rbar 2', file=sys.stderr)"])
os.write(2, b"half ")
time.sleep(0.5)
os.write(2, b"a line\\n")
print("second", flush=True)
os.write(1, b"no end")
made.close()
print("after", sys.stderr.isatty())
"""
SCRIPTS = Path(run_output.__file__).parent
BROKEN = """
import sys
sys.path.insert(0, {scripts!r})
from classlens.terminal.screen import Screen
made = Screen(lambda width, height: [1 / 0])
made.open()
for number in range(20000):
    print("a line", number)
made.close()
"""


@pytest.mark.slow
def test_everything_that_is_printed_appears_above_the_lines() -> None:
    terminal = Terminal(sys.executable, "-c", PROGRAM.format(scripts=str(SCRIPTS)))
    assert terminal.wait() == 0, terminal.seen
    assert terminal.rows == ["first", "False", "bar 2", "half a line", "second", "no end", "after True"]
    assert terminal.seen.count("line True\r\ntotal\r\n") > 5


@pytest.mark.slow
def test_a_mistake_in_the_lines_loses_nothing_that_is_printed() -> None:
    terminal = Terminal(sys.executable, "-c", BROKEN.format(scripts=str(SCRIPTS)))
    assert terminal.wait() == 0, terminal.seen
    assert terminal.rows == [f"a line {number}" for number in range(20000)]
    assert "the progress of the run cannot be shown: ZeroDivisionError: division by zero" in terminal.seen
