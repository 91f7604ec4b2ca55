"""Private namespaces of this machine, in which tests run the daemons of a cluster.

Processes, mounts and the network are the cluster's own, so that nothing listens outside it and nothing outlives it: it ends with the
first process in it, and that one with whoever started it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

PROGRAMS = ("unshare", "nsenter", "ip")
ADDRESS = "192.0.2.1"
"""Address of the machine inside. Daemons of clusters take no loopback address for a node's own."""


def missing(cluster: str, programs: tuple[str, ...], packages: str) -> str | None:
    """Why a cluster that needs these programs cannot be started on this machine."""
    if os.geteuid() != 0:
        return f"a throw-away {cluster} cluster needs root"
    absent = [name for name in (*programs, *PROGRAMS) if not shutil.which(name)]
    return f"a throw-away {cluster} cluster needs {', '.join(absent)} (Debian: {packages}, iproute2)" if absent else None


class Namespaces:
    """Namespaces that last while the context lasts. `begin` starts what runs in them."""

    def __enter__(self) -> Self:
        isolated = ["unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc", "--mount", "--net"]
        # The first process reaps what others leave behind, and ends when its input closes: with the process that started it.
        self._first = subprocess.Popen([*isolated, "bash", "-c", "read -r"], stdin=subprocess.PIPE)
        try:
            outside = psutil.Process(self._first.pid)
            until(lambda: [child.name() for child in outside.children()] == ["bash"], "the cluster's namespaces")
            (self._inside,) = outside.children()
            self.run("ip", "link", "set", "lo", "up")
            self.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
            self.begin()
        except BaseException:
            self._end()
            raise
        return self

    def begin(self) -> None:
        """Start the daemons, and wait until they are ready."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._first.kill()
        self._first.wait()

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside, in this process's working directory; the options are those of Popen."""
        namespaces = ["nsenter", "--target", str(self._inside.pid), "--pid", "--mount", "--net", f"--wdns={os.getcwd()}"]
        return subprocess.Popen([*namespaces, "--", *map(str, command)], **options)

    def run(self, *command: str | Path, **options: Any) -> str:
        """Run a command inside, which must succeed, and return what it prints."""
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, f"{command}: {output}"
        return str(output)

    def succeeds(self, *command: str | Path) -> bool:
        """Run a command inside, and return whether it ends well."""
        return self.daemon(*command).wait() == 0

    def daemon(self, *command: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Start a command whose output is dropped, such as a daemon with a log file."""
        return self.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def kill(entered: subprocess.Popen[Any]) -> None:
    """Kill a command that was started inside, at once, and nothing but it."""
    (command,) = psutil.Process(entered.pid).children()
    command.kill()
    entered.wait()


def until(holds: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until something holds, and say what is missing if it never does."""
    for _ in range(int(seconds * 10)):
        if holds():
            return
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")
