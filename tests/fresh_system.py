"""A new Debian system in a folder, in which a Dockerfile is carried out as a builder of images would, without images from elsewhere.

Commands see none of this machine's files. They share its network, and the configuration of its package clients.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("debootstrap", "unshare", "chroot")
BASE = ("python3-venv", "python-is-python3", "ca-certificates")
"""Packages of the base image, beside the smallest system."""
SHARED = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/root/.config/pip/pip.conf", "/root/.config/uv/uv.toml", "/etc/uv/uv.toml",
          "/etc/ssl/certs/ca-certificates.crt")  # fmt: skip
"""Files of this machine without which package clients may not find their network."""
PREFIXES = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
START = """
mount --bind /dev {root}/dev
mount -t proc proc {root}/proc
exec chroot --userspec={user} {root} env -i {environment} sh -c {command}
"""


def missing() -> str | None:
    """Return why there can be no such system here, or None."""
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking or os.geteuid():
        return f"a new system needs root and {', '.join(PROGRAMS)} (Debian: apt-get install debootstrap)"
    return None


class FreshSystem:
    """A system in a folder.

    Args:
        root: folder that does not exist yet.
    """

    def __init__(self, root: Path):
        self.root = root
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        self.folder = "/"
        self.user = "0:0"
        self.entry_point: list[str] = []
        # debootstrap mounts file systems, which end with their namespace.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", "bookworm", str(root)]
        subprocess.run(command, check=True, capture_output=True)
        for path in SHARED:
            if Path(path).is_file():
                (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, root / path[1:])

    def run(self, command: str, *, clients: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a shell command as the present user; `clients` passes the environment variables of this machine's package clients on."""
        shared = {key: value for key, value in os.environ.items() if clients and key.upper().startswith(PREFIXES)}
        environment = shlex.join(f"{key}={value}" for key, value in (shared | self.environment).items())
        script = START.format(
            root=shlex.quote(str(self.root)),
            user=self.user,
            environment=environment,
            command=shlex.quote(f"cd {shlex.quote(self.folder)} && {command}"),
        )
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script], capture_output=True, text=True, check=False
        )

    def build(self, dockerfile: Path, context: Path) -> None:
        """Carry out a Dockerfile, whose base image this system stands for."""
        text = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word and not word.startswith("#"):
                getattr(self, f"_{word.lower()}")(rest, context)

    def _from(self, base: str, context: Path) -> None:
        assert base.startswith("python:")

    def _workdir(self, folder: str, context: Path) -> None:
        self.folder = folder
        (self.root / folder[1:]).mkdir(parents=True, exist_ok=True)

    def _copy(self, names: str, context: Path) -> None:
        *patterns, target = names.split()
        sources = [path for pattern in patterns for path in sorted(context.glob(pattern))]
        assert sources
        place = self.root / self.folder[1:] / target
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)

    def _run(self, command: str, context: Path) -> None:
        done = self.run(command, clients=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def _env(self, values: str, context: Path) -> None:
        for key, _, value in (pair.partition("=") for pair in shlex.split(values)):
            self.environment[key] = value.replace("$PATH", self.environment["PATH"])

    def _user(self, user: str, context: Path) -> None:
        self.user = user

    def _entrypoint(self, words: str, context: Path) -> None:
        self.entry_point = [word.strip('" ') for word in words.strip("[]").split(",")]

    def _cmd(self, words: str, context: Path) -> None:
        """The default arguments matter to people only."""
