"""The tutorial: it runs on a fresh demo without a network, and the outputs that are kept with it are those of its code."""

import re
import time
from pathlib import Path

import nbformat
import pytest
from conftest import Run
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from published_files import write_hub_model

import tutorial

MOST_BYTES = 1_500_000
FOLDER = re.compile(r"/(home|root|tmp|usr|var|Users)/")
MODEL, SMALLER = "vit_base_patch32_224", "vit_tiny_patch16_224"  # of the hub: in the tutorial, and here


def no_network(cache: Path) -> dict[str, str]:
    """An environment with a hub cache and nothing beyond this machine: whatever asks for it meets a closed port."""
    closed = "http://127.0.0.1:9"
    return {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "HTTP_PROXY": closed, "HTTPS_PROXY": closed}


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: NotebookNode) -> list[str]:
    """What a cell printed."""
    return [output.text for output in cell.outputs if output.output_type == "stream"]


def part(*ids: str) -> NotebookNode:
    """The tutorial with some of its cells only."""
    notebook = tutorial.read()
    notebook.cells = [cell for cell in notebook.cells if cell.id in ids]
    assert len(notebook.cells) == len(ids)
    return notebook


@pytest.fixture(scope="module")
def fresh(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The tutorial, executed on the demo: an error in a cell, or an assertion that does not hold, ends it."""
    start = time.monotonic()
    results = demo.folder / "results" / "demo"
    notebook = tutorial.executed(tutorial.read(), CLASSLENS_RESULTS=str(results), **no_network(tmp_path_factory.mktemp("cache")))
    print(f"tutorial: {time.monotonic() - start:.0f} s")
    return notebook


def test_it_runs_on_the_demo_and_leaves_out_only_the_hub(fresh: NotebookNode) -> None:
    printed = {cell.id: texts(cell) for cell in code(fresh)}
    assert printed["hub-model"] == [f"Left out: {MODEL}.augreg_in21k_ft_in1k is not in the hub's cache, and the hub cannot be reached.\n"]
    assert not [output for cell in code(fresh) for output in cell.outputs if output.get("name") == "stderr"]


def test_the_kept_outputs_are_those_of_its_code(fresh: NotebookNode) -> None:
    for kept, new in zip(code(tutorial.read()), code(fresh), strict=True):
        kinds, new_kinds = ([sorted(output.get("data", [output.output_type])) for output in cell.outputs] for cell in (kept, new))
        tags = kept.metadata.get("tags", [])
        assert kinds == new_kinds or "hub" in tags, kept.id  # the one who kept them may have had a network
        assert texts(kept) == texts(new) or "exact" not in tags  # the model is trained anew, and differs between processors


def test_it_is_kept_executed_in_order_small_and_without_traces() -> None:
    notebook = tutorial.read()
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert {name for cell in notebook.cells for name in cell.metadata} == {"tags"}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert tutorial.NOTEBOOK.stat().st_size < MOST_BYTES
    shown = [output.get("text") or output.data["text/plain"] for cell in code(notebook) for output in cell.outputs]
    assert not [text for text in shown if FOLDER.search(text)]


def test_a_model_from_the_hubs_cache(tmp_path: Path) -> None:
    write_hub_model(tmp_path, f"{SMALLER}.augreg_in21k_ft_in1k", {})
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reproduction.csv").touch()
    notebook = part("setup", "hub-model", "hub-tokens")
    notebook.cells[1].source = notebook.cells[1].source.replace(MODEL, SMALLER)
    done = tutorial.executed(notebook, CLASSLENS_RESULTS=str(tmp_path / "results"), **no_network(tmp_path))
    assert "image/png" in done.cells[2].outputs[0].data
    assert not texts(done.cells[1])


def test_without_a_demo_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="holds no finished demo: run `make demo` first, or set CLASSLENS_RESULTS"):
        tutorial.executed(part("setup"), CLASSLENS_RESULTS=str(tmp_path))
