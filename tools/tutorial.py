"""Execute docs/tutorial.ipynb: `make tutorial` does it after the demo, and keeps its outputs; tests/test_tutorial.py does it for a test."""

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
QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # of progress bars that the notebook does not have


def read() -> NotebookNode:
    """The notebook as it is in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: NotebookNode, **environment: str) -> NotebookNode:
    """A notebook with the outputs that it has now, and without a trace of when and by what it was executed.

    Args:
        notebook: it stays as it is.
        environment: variables that it sees besides those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    result = nbformat.from_dict(notebook)
    folder = {"metadata": {"path": NOTEBOOK.parent}}
    client = NotebookClient(result, kernel_name="python3", timeout=600, startup_timeout=600, record_timing=False, resources=folder)
    kernel = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:  # in place of the network
        kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"
        client.execute(env={**os.environ, **QUIET, **environment})
    result.metadata = notebook.metadata
    return result


def main() -> None:
    """Execute the notebook where it is."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    start = time.monotonic()
    nbformat.write(executed(read()), NOTEBOOK)
    print(f"{NOTEBOOK.relative_to(REPOSITORY)}: executed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
