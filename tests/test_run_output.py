"""What a person sees of a run: plain lines, and lines that change on a terminal."""

import re
import signal
import sys
from pathlib import Path

import pytest
from conftest import Run, small_config
from pseudo_terminal import Terminal
from warm_python import interpreter

from run_output import causes

MANIFEST = "results/small/data/d/validation/manifest.parquet"
PLAIN = re.compile(r"\[(\d) of (\d), (\d:\d\d)\] (.*) took \d:\d\d")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "work")
    run.configure(small_config())
    return run


def arguments(run: Run, *further: str) -> list[str]:
    return run.arguments(MANIFEST, "--configfile", run.folder / "my config.yaml", *further)


def test_without_a_terminal_a_run_prints_plain_lines(run: Run) -> None:
    done = run.snakemake(MANIFEST, "--configfile", run.folder / "my config.yaml")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "2 jobs. Logs: results/small/logs/" in lines
    finished = [PLAIN.fullmatch(line) for line in lines if line.startswith("[")]
    assert [found and (found[1], found[2], found[4]) for found in finished] == [
        ("1", "2", "Drawing the data set d"),
        ("2", "2", "Checking the images of d, validation"),
    ]
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "eason" not in done.stderr
    (kept,) = (run.folder / ".snakemake" / "log").glob("*.log")
    assert "reason: Missing output files" in kept.read_text() or "Reason: Missing output files" in kept.read_text()
    again = run.snakemake(MANIFEST, "--configfile", run.folder / "my config.yaml")
    assert "Nothing to be done" in again.stderr


def test_on_a_terminal_running_jobs_have_lines(run: Run) -> None:
    terminal = Terminal(interpreter(), "-m", "snakemake", *arguments(run))
    assert terminal.wait() == 0, terminal.seen
    assert re.search(r"Drawing the data set d +0:0\d\r\n0 of 2 jobs done, 1 running, 0:0\d\. Logs: results/small/logs/\r\n", terminal.seen)
    rows = "\n".join(terminal.rows)
    assert len(re.findall(PLAIN, rows)) == 2
    assert " running," not in rows
    assert rows.index("[2 of 2,") < rows.index("What there is of the run small") < rows.index("Complete log(s)")


def test_on_a_terminal_errors_stay(run: Run) -> None:
    config = small_config()
    config["models"]["m"]["arch"] = "no_such_model"
    run.configure(config)
    command = run.arguments("results/small/models/m/model.json", "--configfile", run.folder / "my config.yaml")
    terminal = Terminal(interpreter(), "-m", "snakemake", *command)
    assert terminal.wait() == 1
    assert len([row for row in terminal.rows if row.startswith("error: arch 'no_such_model'")]) == 1
    rows = "\n".join(terminal.rows)
    assert rows.index("error: arch") < rows.index("Error in rule model:") < rows.index("The run has stopped. Above,")
    assert "log: results/small/logs/model/m.log" in rows
    assert " running," not in rows


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_run_leaves_the_terminal_usable(run: Run, sent: signal.Signals, status: int) -> None:
    terminal, signalled = Terminal(sys.executable, "-m", "snakemake", *arguments(run)), False
    for seen in terminal.read():
        if "1 running" in seen and not signalled:
            signalled = True
            terminal.process.send_signal(sent)
    assert terminal.process.returncode == status
    assert terminal.seen.count("\x1b[?7l") == terminal.seen.count("\x1b[?7h")  # lines break at the edge, as before
    if sent == signal.SIGINT:
        assert " running," not in "\n".join(terminal.rows)
    assert run.complete(MANIFEST, "--configfile", run.folder / "my config.yaml")


def test_an_error_in_a_group_of_jobs_names_why_slurm_ended_it(tmp_path: Path) -> None:
    ended = "slurmstepd-node0: error: *** JOB 7 ON node0 CANCELLED AT 2026-11-28T00:19:08 DUE TO TIME LIMIT ***"
    lines = ["Building DAG of jobs...", ended, ended.replace("JOB 7", "STEP 7.0"), "srun: error: node0: task 0: Exited with exit code 1"]
    (tmp_path / "7.log").write_text("\n".join(lines))
    assert list(causes([str(tmp_path / "7.log"), str(tmp_path / "8.log")])) == [ended]
