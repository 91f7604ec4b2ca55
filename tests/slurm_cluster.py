"""A Slurm cluster in private namespaces: a controller, two nodes with pretended GPUs, and accounting if it is wanted.

A node is a namespace of processes again, which one signal ends as a power cut would.
"""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import namespaces
from namespaces import Namespaces, kill, until

NODES = ("node0", "node1")
GPUS_PER_NODE = 2
ACCOUNTING = all(map(shutil.which, ("slurmdbd", "mariadbd", "mariadb-install-db")))
"""Whether this machine has the programs of accounting, which sacct asks (Debian: slurmdbd, mariadb-server-core)."""

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
{accounting}
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


DATABASE_DAEMON = """
DbdHost=localhost
SlurmUser=root
AuthType=auth/none
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def missing() -> str | None:
    """Why no cluster can be started on this machine."""
    return namespaces.missing("Slurm", ("slurmctld", "slurmd", "srun"), "slurm-wlm")


class Cluster(Namespaces):
    """A cluster that runs while the context lasts.

    Args:
        folder: for its settings, state and logs.
        accounting: whether it keeps accounts.
    """

    def __init__(self, folder: Path, accounting: bool = False):
        self.folder, self.accounting = folder, accounting
        self.nodes: dict[str, subprocess.Popen[Any]] = {}

    def begin(self) -> None:
        self._configure()
        self.run("mount", "--bind", self.folder, "/etc/slurm")
        if self.accounting:
            self._account()
        self.daemon("slurmctld", "-D", "-c", "-i")
        for name in NODES:
            self.boot(name)
        until(lambda: self.succeeds("scontrol", "ping"), "the controller")
        until(lambda: self.run("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * len(NODES), "idle nodes")

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]  # as Slurm calls it
        (self.folder / "state").mkdir(parents=True)
        devices = [self.folder / f"gpu{index}" for index in range(GPUS_PER_NODE)]
        for device in devices:
            subprocess.run(["mknod", device, "c", "1", "3"], check=True)  # as /dev/null
        nodes = (NODE.format(name=name, host=host, port=17000 + index, gpus=GPUS_PER_NODE) for index, name in enumerate(NODES))
        accounting = "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1" if self.accounting else ""
        controller = CONTROLLER.format(host=host, folder=self.folder, accounting=accounting)
        (self.folder / "slurm.conf").write_text(controller + "".join(nodes), encoding="utf-8")
        (self.folder / "slurmdbd.conf").write_text(DATABASE_DAEMON.format(folder=self.folder), encoding="utf-8")
        (self.folder / "slurmdbd.conf").chmod(0o600)
        gpus = "".join(f"Name=gpu File={device}\n" for device in devices)
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\n{gpus}", encoding="utf-8")

    def _account(self) -> None:
        """Start the accounting: a database, which lets everybody in, and Slurm's daemon in front of it."""
        options = ["--no-defaults", "--user=root", f"--datadir={self.folder}/database"]
        self.run("mariadb-install-db", *options, "--skip-test-db", "--auth-root-authentication-method=normal")
        connections = [f"--socket={self.folder}/socket", "--bind-address=127.0.0.1", "--skip-grant-tables"]
        self.daemon("mariadbd", *options, *connections, f"--log-error={self.folder}/database.log")
        until((self.folder / "socket").exists, "the database")
        self.daemon("slurmdbd", "-D")
        until(lambda: self.succeeds("sacctmgr", "--immediate", "add", "cluster", "test"), "the accounting")

    def boot(self, name: str) -> None:
        """Switch a node on."""
        machine = ["unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc"]
        self.nodes[name] = self.daemon(*machine, "slurmd", "-D", "-c", "-N", name)

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
