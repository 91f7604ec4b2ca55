"""A Slurm cluster that lives in private namespaces of this machine: a controller and two nodes with pretended GPUs.

Processes, mounts and the network are the cluster's own, so that nothing listens outside it and nothing outlives it: it ends with the
first process in it, and that one with whoever started it. A node is a namespace of processes again, which one signal ends as a power cut
would.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

NODES = ("node0", "node1")
GPUS_PER_NODE = 2
PROGRAMS = ("slurmctld", "slurmd", "srun", "unshare", "nsenter", "ip")

CONTROLLER = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=1
ReturnToService=2
JobRequeue=1
MinJobAge=3600
KillWait=1
SlurmdTimeout=10
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldPort=6817
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmdLogFile={folder}/%n.log
PartitionName=all Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=65536 Gres=gpu:{gpus}\n"


def missing() -> str | None:
    """Why no cluster can be started on this machine."""
    if os.geteuid() != 0:
        return "a throw-away Slurm cluster needs root"
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    return f"a throw-away Slurm cluster needs {', '.join(absent)} (Debian: slurm-wlm, iproute2)" if absent else None


class Cluster:
    """A cluster that runs while the context lasts.

    Args:
        folder: for its settings, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.nodes: dict[str, subprocess.Popen[Any]] = {}

    def __enter__(self) -> Self:
        self._configure()
        isolated = ["unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc", "--mount", "--net"]
        # The first process reaps what others leave behind, and ends when its input closes: with the process that started it.
        self._first = subprocess.Popen([*isolated, "bash", "-c", "read -r"], stdin=subprocess.PIPE)
        outside = psutil.Process(self._first.pid)
        until(lambda: [child.name() for child in outside.children()] == ["bash"], "the cluster's namespaces")
        (self._inside,) = outside.children()
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")  # Slurm takes no loopback address for a node's own
        self.run("mount", "--bind", str(self.folder), "/etc/slurm")
        self._daemon("slurmctld", "-D", "-c", "-i")
        for name in NODES:
            self.boot(name)
        until(lambda: self.run("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * len(NODES), "idle nodes")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._first.kill()
        self._first.wait()

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]  # as Slurm calls it
        (self.folder / "state").mkdir(parents=True)
        devices = [self.folder / f"gpu{index}" for index in range(GPUS_PER_NODE)]
        for device in devices:
            subprocess.run(["mknod", device, "c", "1", "3"], check=True)  # as /dev/null
        nodes = (NODE.format(name=name, host=host, port=17000 + index, gpus=GPUS_PER_NODE) for index, name in enumerate(NODES))
        (self.folder / "slurm.conf").write_text(CONTROLLER.format(host=host, folder=self.folder) + "".join(nodes), encoding="utf-8")
        gpus = "".join(f"Name=gpu File={device}\n" for device in devices)
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\n{gpus}", encoding="utf-8")

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside, in this process's working directory; the options are those of Popen."""
        namespaces = ["nsenter", "--target", str(self._inside.pid), "--pid", "--mount", "--net", f"--wdns={os.getcwd()}"]
        return subprocess.Popen([*namespaces, "--", *map(str, command)], **options)

    def run(self, *command: str | Path) -> str:
        """What a command prints inside, which must succeed."""
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, f"{command}: {output}"
        return str(output)

    def _daemon(self, *command: str) -> subprocess.Popen[Any]:
        return self.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # each has its log file

    def boot(self, name: str) -> None:
        """Switch a node on."""
        machine = ["unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc"]
        self.nodes[name] = self._daemon(*machine, "slurmd", "-D", "-c", "-N", name)

    def cut_power(self, name: str) -> None:
        """End a node and everything on it, without a word to anybody."""
        kill(self.nodes.pop(name))

    def jobs(self, *filters: str) -> list[dict[str, str]]:
        """Slurm's records of jobs, finished ones too, oldest first.

        Args:
            filters: arguments of squeue, for example `--states=RUNNING`; none: all jobs.
        """
        columns = {"id": "%i", "state": "%T", "node": "%N", "comment": "%k", "cores": "%C", "memory": "%m"}
        lines = self.run("squeue", "--noheader", "--sort=i", f"--format={'|'.join(columns.values())}", *(filters or ["--states=all"]))
        return [dict(zip(columns, line.split("|"), strict=True)) for line in lines.splitlines()]


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
