"""A Grid Engine cluster in private namespaces: a queue master, and one node with pretended GPUs."""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import namespaces
from namespaces import ADDRESS, Namespaces, until

SLOTS, GPUS = 8, 2
TOOLS = Path("/usr/lib/gridengine")
SETTINGS = Path("/usr/share/gridengine/default-configuration")
DEFAULTS = Path("/usr/share/gridengine/util/resources")

BOOTSTRAP = """
admin_user root
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib libspoolc
spooling_params {common};{spool}
binary_path /usr/sbin
qmaster_spool_dir {spool}
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
RESOURCE = "name {0}\nshortcut {0}\ntype {1}\nrelop <=\nrequestable YES\nconsumable {2}\ndefault 0\nurgency 0\n"


def missing() -> str | None:
    """Why no cluster can be started on this machine."""
    if not find_spec("snakemake_executor_plugin_cluster_generic"):
        return "Grid Engine needs the package snakemake-executor-plugin-cluster-generic (pip install '.[sge]')"
    return namespaces.missing("Grid Engine", ("sge_qmaster", "sge_execd", "qsub"), "gridengine-master, gridengine-exec")


class GridEngine(Namespaces):
    """A cluster that runs while the context lasts.

    Args:
        folder: for its settings, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname()
        self.environment = {"SGE_ROOT": str(folder), "SGE_CELL": "default", "SGE_ND": "1"}  # the last one: daemons stay in front

    def start(self, *command: str | Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
        return super().start(*command, **options, env=(env or dict(os.environ)) | self.environment)

    def begin(self) -> None:
        common, spool = self.folder / "default" / "common", self.folder / "spool"
        for made in (common, spool / "job_scripts", self.folder / "execd"):
            made.mkdir(parents=True)
        for name in ("bin", "lib", "utilbin", "util"):
            (self.folder / name).symlink_to(f"/var/lib/gridengine/{name}")
        self.run("mount", "--bind", self._write("hosts", f"127.0.0.1 localhost\n{ADDRESS} {self.host}\n"), "/etc/hosts")
        (common / "act_qmaster").write_text(f"{self.host}\n", encoding="utf-8")
        (common / "bootstrap").write_text(BOOTSTRAP.format(common=common, spool=spool), encoding="utf-8")
        self.run(TOOLS / "spoolinit", "classic", "libspoolc", f"{common};{spool}", "init")
        self.run(TOOLS / "spooldefaults", "configuration", self._settings())
        self.run(TOOLS / "spooldefaults", "complexes", self._resources())
        self.run(TOOLS / "spooldefaults", "pes", DEFAULTS / "pe")
        self.run(TOOLS / "spooldefaults", "usersets", DEFAULTS / "usersets")
        self.run(TOOLS / "spooldefaults", "managers", "root")
        self.daemon("sge_qmaster")
        until(lambda: self.succeeds("qconf", "-sh"), "the queue master")
        self._configure("-ssconf", "-Msconf", schedule_interval="0:0:1", flush_submit_sec="1", flush_finish_sec="1")
        self.run("qconf", "-as", self.host)
        self._configure("-sq", "-Aq", qname="all.q", hostlist=self.host, slots=str(SLOTS), load_thresholds="NONE")
        self.daemon("sge_execd")
        until(lambda: self.host in self.run("qconf", "-sel"), "the node")
        # A pretended machine: its free RAM is the smaller one of these 64 GB and what the node reports, times 1000.
        for attribute, value in (("complex_values", f"gpu={GPUS},mem_free=64G"), ("load_scaling", "mem_free=1000")):
            self.run("qconf", "-aattr", "exechost", attribute, value, self.host)
        until(lambda: not self.run("qstat", "-f", "-qs", "u"), "the node's queue")

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _settings(self) -> Path:
        """Debian's settings, but that root may run jobs, and loads and ended jobs are reported at once."""
        changes = {
            "execd_spool_dir": self.folder / "execd",
            "min_uid": 0,
            "min_gid": 0,
            "mailer": "/bin/true",
            "load_report_time": "0:0:1",
            "reporting_params": "accounting=true reporting=false flush_time=0:0:1 joblog=false sharelog=0:0:0",
        }
        text = SETTINGS.read_text(encoding="utf-8")
        return self._write("configuration", changed(text, changes))

    def _resources(self) -> Path:
        """Debian's resources, and GPUs; RAM is counted per slot."""
        folder = shutil.copytree(DEFAULTS / "centry", self.folder / "resources")
        (folder / "gpu").write_text(RESOURCE.format("gpu", "INT", "JOB"), encoding="utf-8")
        (folder / "mem_free").write_text(RESOURCE.format("mem_free", "MEMORY", "YES"), encoding="utf-8")
        return folder

    def _configure(self, show: str, change: str, **values: str) -> None:
        """Change values of what one option of qconf shows, by another one."""
        self.run("qconf", change, self._write("changed", changed(self.run("qconf", show), values)))

    def requested(self, job: str) -> str:
        """Return what an ended job had requested, as options of qsub."""
        (line,) = (line for line in self.run("qacct", "-j", job).splitlines() if line.startswith("category"))
        return line.removeprefix("category").strip()


def changed(settings: str, values: Mapping[str, object]) -> str:
    """Settings, a line each, with other values."""
    lines = (line.split(maxsplit=1) for line in settings.splitlines() if line and not line.startswith("#"))
    return "".join(f"{name} {values.get(name, value)}\n" for name, value in lines)
