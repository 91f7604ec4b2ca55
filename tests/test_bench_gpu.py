"""The section about a GPU in the benchmarks."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from fake_gpu import SMALL, TRANSFORM

import bench_gpu
from bench_gpu import Measured
from classlens.compute.device import Compute
from classlens.data.batches import Batch
from classlens.data.transforms import Transform
from classlens.models.card import Card


def test_there_is_no_section_without_a_gpu() -> None:
    def measure(*_: object) -> Any:
        raise AssertionError("measured without a GPU")

    assert bench_gpu.section(Compute(torch.device("cpu")), measure, measure) == []


def test_forward_passes_run() -> None:
    model = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    card = Card("vit", {}, 7, 3, 32, 2, (2, 2), 1, True, "token", TRANSFORM, "random", "0")
    batch = Batch([0, 1], torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, 32, 32, dtype=torch.uint8), Transform(TRANSFORM))
    stages = bench_gpu.forward_passes(model, card, batch, Compute(torch.device("cpu"), 2))
    assert [(name, images) for name, images, _ in stages] == [("bare forward", 2), ("extraction", 2), ("projection of all sites", 2)]
    for _, _, run in stages:
        run()


def test_a_stage_of_several_steps_counts_an_image_for_each() -> None:
    stages = [SimpleNamespace(name=name, images=4, repeats=3, run=print) for name in ("a step", "a step, image by image")]
    assert bench_gpu.further_stages(stages) == [("a step", 12, print)]


def test_the_section_has_a_row_for_each_stage_and_precision() -> None:
    found = [Measured("relevance", precision, 123.4, 2048.6, 1) for precision in bench_gpu.PRECISIONS]
    lines = bench_gpu.lines("GPU of a test", 64, found)
    assert lines[0] == "## GPU"
    assert lines[2].startswith("GPU of a test, one batch of 64 images")
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
