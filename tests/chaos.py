"""Kill jobs, Snakemake or both at random moments of a small run, again and again: the same command must always go on to the same bytes.

Checked after every kill: each file that is there under its own name is whole, that is, the very bytes of an undisturbed run. Checked at the
end of every run: all files are those bytes, nothing else lies between them, nothing still runs, and no job that had finished was run again.
"""

import random
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from conftest import Run, small_config

from classlens.storage.provenance import sha256

TARGETS = ("F13", "T5", "T6")
LONGEST = 12.0
"""Seconds from the start of Snakemake to the last moment of a kill; it takes some three to start its first job."""

VICTIMS = ("a job", "Snakemake", "Snakemake and its jobs")
NO_RESULTS = {"logs", "benchmarks"}
OTHER_FILES = {".lock", "run.json", "made.json", ".snakemake_timestamp"}


@dataclass
class Tally:
    """What happened, by victim.

    Attributes:
        kills: how often something was killed.
        cut: jobs that were cut short, and thus started again.
        runs: runs that came to their end.
    """

    kills: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    runs: int = 0


class Attempt:
    """One start of Snakemake, whose output goes to a file."""

    def __init__(self, run: Run):
        self._log = run.folder / "attempt.log"
        with self._log.open("w") as log:
            command = run.command(*TARGETS, "--printshellcmds", "--configfile", run.folder / "my config.yaml")  # which tells of every start
            self.process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ends_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except psutil.TimeoutExpired:
            return False
        return True

    def kill(self, victim: str, rng: random.Random) -> bool:
        """Kill a victim and wait for Snakemake to end; False if there is no such process any more."""
        jobs = self.process.children(recursive=True)
        chosen = {"a job": rng.sample(jobs, min(1, len(jobs))), "Snakemake": [self.process]}.get(victim, [self.process, *jobs])
        for process in chosen:
            process.kill()
        self.process.wait(None if chosen else 0)
        return bool(chosen)

    def jobs(self) -> tuple[list[str], list[str]]:
        """The jobs that were started and those that finished, by their messages, each of which only one job has; targets have none."""
        messages = dict(re.findall(r"^Job (\d+): (.*)$", self.output, re.MULTILINE))
        finished = set(re.findall(r"^Finished jobid: (\d+)", self.output, re.MULTILINE))
        return list(messages.values()), [message for number, message in messages.items() if number in finished]


class Chaos:
    """A small run that is killed, started again, and compared with an undisturbed one.

    Args:
        folder: an empty folder.
        seed: of victims and moments.
    """

    def __init__(self, folder: Path, seed: int):
        self.tally = Tally()
        self._rng = random.Random(seed)
        self._finished: set[str] = set()
        self._run, calm = Run(folder / "disturbed"), Run(folder / "calm")
        for run in (self._run, calm):
            run.configure(small_config(hidden_states={"shard_size": 10}))
        calm.complete(*TARGETS, "--configfile", calm.folder / "my config.yaml")
        self._expected = digests(calm)

    def go(self, kills: int) -> Tally:
        """Kill so often, and then let the run come to its end."""
        while self.tally.kills.total() < kills:
            attempt = Attempt(self._run)
            if attempt.ends_within(self._rng.uniform(0, LONGEST)):
                self._end(attempt)
            else:
                self._disturb(attempt)
        last = Attempt(self._run)
        last.process.wait()
        self._end(last)
        return self.tally

    def _disturb(self, attempt: Attempt) -> None:
        victim = self._rng.choice(VICTIMS)
        try:
            self.tally.kills[victim] += attempt.kill(victim, self._rng)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):  # there was no job, or it ended by itself
            attempt.process.kill()
            attempt.process.wait()
        self.tally.cut[victim] += self._cut_short(attempt)
        for name, digest in digests(self._run).items():
            if not re.match(r"data/\w+/images/", name):  # folders are complete once their job has finished
                assert digest == self._expected[name], f"{name} is not whole after {victim} was killed"

    def _end(self, attempt: Attempt) -> None:
        assert attempt.process.wait() == 0, attempt.output
        assert self._cut_short(attempt) == 0
        self.tally.runs += 1
        assert digests(self._run) == self._expected, "the results are not those of an undisturbed run"
        assert not self._left_over(), f"{self._left_over()} are left over"
        self._finished.clear()
        shutil.rmtree(self._run.folder / "results")
        shutil.rmtree(self._run.folder / ".snakemake")

    def _cut_short(self, attempt: Attempt) -> int:
        """How many jobs were started and did not finish; none may be started that had finished before."""
        started, finished = attempt.jobs()
        assert not self._finished & set(started), "what had finished was started again"
        self._finished |= set(finished)
        return len(started) - len(finished)

    def _left_over(self) -> list[str]:
        """Drafts that lie between the results, and processes that still run."""
        time.sleep(1)  # jobs of a killed Snakemake end within half a second
        drafts = [path.name for path in (self._run.folder / "results").rglob(".*") if path.name not in OTHER_FILES]
        return [*drafts, *(str(process) for process in psutil.process_iter() if _folder(process) == self._run.folder)]


def _folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except psutil.Error:
        return None


def digests(run: Run, name: str = "small") -> dict[str, str]:
    """sha256 of every result of a run that is there under its own name."""
    home = run.folder / "results" / name
    names = {path.relative_to(home): path for path in home.rglob("*") if path.is_file() and not path.name.startswith(".")}
    return {
        name.as_posix(): sha256(path) for name, path in names.items() if name.parts[0] not in NO_RESULTS and path.name not in OTHER_FILES
    }
