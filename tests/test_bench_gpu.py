"""The section about a GPU in the benchmarks."""

import warnings
from typing import Any

import pytest
import torch

import bench_gpu
from bench_gpu import Measured
from classlens.compute.device import Compute


def test_there_is_no_section_without_a_gpu() -> None:
    def measure(*_: object) -> Any:
        raise AssertionError("measured without a GPU")

    assert bench_gpu.section(Compute(torch.device("cpu")), measure, measure) == []


def test_the_section_has_a_row_for_each_stage_and_precision() -> None:
    found = [Measured("relevance", precision, 123.4, 2048.6, 1) for precision in bench_gpu.PRECISIONS]
    lines = bench_gpu.lines("GPU of a test", found)
    assert lines[0] == "## GPU"
    assert lines[2].startswith("GPU of a test, one batch")
    assert lines[-2] == "| relevance | bfloat16 | 123 | 2049 | 1 |"
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}


def test_waits_are_counted_by_their_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def run() -> None:
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation (function warn_or_error)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    assert bench_gpu.waits(run) == 3
    assert modes == [0, "warn", 0]
