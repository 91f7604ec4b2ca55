"""The results folder of a run: the run and protocol that it belongs to, and the process that writes to it.

The imports are light, because the workflow uses this module whenever it is parsed.
"""

import fcntl
import getpass
import json
import os
import socket
import sys
from pathlib import Path
from typing import IO

from classlens.config.settings import Config
from classlens.errors import InputError
from classlens.storage.atomic_write import atomic_write

OWNER = "run.json"
LOCK = ".lock"


def check(results: str | Path, config: Config) -> None:
    """Raise an InputError if the results folder of a config contains results of another run or protocol, because results would be mixed.

    Args:
        results: the run's folder, which may be missing.
        config: from `reading.resolve`.
    """
    path = Path(results) / OWNER
    if not path.is_file():
        return
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        found = {key: owner[key] for key in _owner(config)}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path} is damaged: delete it, and the workflow writes it again") from None
    for key, value in _owner(config).items():
        if found[key] != value:
            raise InputError(
                f"{results} holds results of the {key} {found[key]!r}, and the config's is {value!r}:"
                " give the config another `run`, or remove the folder"
            )


def _owner(config: Config) -> dict[str, str]:
    return {"run": config.run, "protocol": config.protocol}


_held: list[IO[str]] = []  # an open file keeps its lock; the system releases the lock when the process ends, even when it is killed


def claim(results: str | Path, config: Config) -> None:
    """Lock a run's folder until this process ends, and record the run and protocol that it belongs to.

    Args:
        results: the run's folder, which is created.
        config: from `reading.resolve`.

    Raises:
        InputError: another process holds the lock, or the folder is not writable.
    """
    folder = Path(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 (closing the file would release the lock)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise InputError(f"{results} is in use by {file.read().strip() or 'another run'}: wait until it ends, or end it") from None
    except OSError as error:  # some network file systems have no locks
        print(f"warning: {folder / LOCK}: {error.strerror}; nothing keeps a second run from writing there", file=sys.stderr)
    _held.append(file)
    try:
        _sign(folder, file, config)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _sign(folder: Path, lock: IO[str], config: Config) -> None:
    """Write this process into the lock file, and the run and protocol into the owner file."""
    lock.truncate(0)
    lock.write(f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}\n")
    lock.flush()
    with atomic_write(folder / OWNER) as draft:
        draft.write_text(json.dumps(_owner(config)) + "\n", encoding="utf-8")


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"{error.filename or folder}: {error.strerror}; results cannot be written there")
