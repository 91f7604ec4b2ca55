"""Execute docs/tutorial.ipynb. `make tutorial` runs this after the demo and stores the outputs; tests/test_tutorial.py runs it too."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOK = REPOSITORY / "docs" / "tutorial.ipynb"
QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # about progress bars, which the notebook does not use


def read() -> NotebookNode:
    """Return the notebook as stored in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: NotebookNode, **environment: str) -> NotebookNode:
    """Return an executed copy of a notebook, without metadata about the time and the kernel.

    Args:
        notebook: the notebook to execute; it is not changed.
        environment: environment variables in addition to those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    result = nbformat.from_dict(notebook)
    folder = {"metadata": {"path": NOTEBOOK.parent}}
    client = NotebookClient(result, kernel_name="python3", timeout=600, startup_timeout=600, record_timing=False, resources=folder)
    kernel = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:  # sockets instead of the network
        kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"
        client.execute(env={**os.environ, **QUIET, **environment})
    result.metadata = notebook.metadata
    return result


def main() -> None:
    """Execute the notebook in place."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    start = time.monotonic()
    nbformat.write(executed(read()), NOTEBOOK)
    print(f"{NOTEBOOK.relative_to(REPOSITORY)}: executed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
