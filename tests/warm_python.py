"""A Python whose slow modules are imported once per test process. Each program runs in a fork of it, which saves seconds of its start.

`interpreter()` is the path of a command to use like `python`: `python FILE ...` and `python -m snakemake ...` run in a fork that has the
arguments, working directory, environment and open files of the command. Everything else runs in the usual interpreter. Snakemake in a
fork starts its jobs with this command too. Modules of classlens are never imported beforehand: each program reads those of its checkout.
"""

import atexit
import gc
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import NoReturn

SLOW = ("matplotlib.pyplot", "polars", "pyarrow.parquet", "pydantic", "scipy.stats", "torch", "torchvision", "yaml")
CLIENT = """
import json, os, socket, sys
known = sys.argv[1:3] == ["-m", "snakemake"] or sys.argv[1:] and sys.argv[1].endswith(".py")
if not known or "PYTHONPATH" in os.environ:  # which would change what is imported
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
request = json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int(server.recv(8) or b"1"))
"""


@cache
def interpreter() -> str:
    """Return the path of the command. Its server starts at the first call and ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    address, client, command = folder / "socket", folder / "client.py", folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(client))} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    arguments = [sys.executable, "-P", __file__, address, command]
    server = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout
    server.stdout.readline()  # it listens
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.communicate)  # closes its stdin, and waits for its end
    return str(command)


def _serve(address: str, command: str) -> None:
    """Run the program of each client in a fork, until the test process ends."""
    for name in SLOW:
        __import__(name)
    from snakemake import cli

    cli.get_argument_parser()  # imports the plugins
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:  # the stdin ends with the test process
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(client, command)
            os._exit(0)
        client.close()
    os._exit(0)  # takes no modules apart


def _attend(client: socket.socket, command: str) -> None:
    """Run a client's program in one more fork, and send its status. Kill it if the client ends before it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(client, 8, 3)
    request = json.loads(client.makefile("rb").read(int.from_bytes(head, "big")))
    program = os.fork()
    if program == 0:
        client.close()
        _become(request, files, command)
        _end(_run(request["arguments"]))
    ended, _, _ = select.select([client, os.pidfd_open(program)], [], [])
    if client in ended:
        os.kill(program, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    client.sendall(b"%d" % (status if status >= 0 else 128 - status))


def _become(request: dict, files: list[int], command: str) -> None:
    """Take over a request's files, folder and environment."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "CLASSLENS_STARTED_BY" in os.environ:
        os.environ["CLASSLENS_STARTED_BY"] = str(os.getppid())
    if threads := os.environ.get("OMP_NUM_THREADS"):  # torch has read that of the server
        sys.modules["torch"].set_num_threads(int(threads))
    sys.executable = command


def _run(arguments: list[str]) -> int:
    """Run a program or Snakemake. Return its exit status."""
    try:
        if arguments[0] == "-m":
            from snakemake import cli

            sys.argv = arguments[1:]
            cli.main()
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """End this process as the interpreter does, but leave the server's modules as they are."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
