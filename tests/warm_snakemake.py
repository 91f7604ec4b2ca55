"""A Snakemake that is imported once per test process. Each command runs in a fork of it, which saves the two seconds of its start."""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
from functools import cache


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `snakemake` with these arguments, in the working directory and with the environment of the test."""
    server = _server()
    assert server.stdin and server.stdout
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "files": files}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        stdout, stderr = (file.seek(0) or file.read().decode("utf-8") for file in (out, err))
    return subprocess.CompletedProcess(["snakemake", *arguments], status, stdout, stderr)


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-P", __file__]  # -P: this folder holds no modules for Snakemake
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its stdin, and waits for its end
    return server


def _serve() -> None:
    """Run each request, a line of stdin, in a fork. Print its exit status."""
    from snakemake import cli

    cli.get_argument_parser()  # imports the plugins
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become(json.loads(line))
            cli.main()
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(request: dict) -> None:
    """Take over arguments, working directory, environment and output files of a request."""
    sys.argv = ["snakemake", *request["arguments"]]
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for descriptor, path in enumerate([os.devnull, *request["files"]]):
        os.dup2(os.open(path, os.O_RDWR), descriptor)


if __name__ == "__main__":
    _serve()
