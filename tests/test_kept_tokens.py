"""Removing tokens, cutting attention, and deletion curves, on small models."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import timm
import torch

from classlens.analyses import deletion, deletion_curves, perturbation
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.models.loading import describe, save
from classlens.protocol import CORRECTED, PAPER

SMALL = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 3, "num_classes": 7}
ARCHS = {"cls": "vit_tiny_patch16_224", "pooled": "vit_base_patch16_rpn_224", "registers": "vit_small_patch16_224"}
KWARGS = {"registers": {"reg_tokens": 3}, "pooled": {"init_values": 0.1}}


def build(name: str):
    torch.manual_seed(1)
    model = timm.create_model(ARCHS[name], **SMALL, **KWARGS.get(name, {})).eval().requires_grad_(False)
    return model, Lens.from_model(model)


def card_of(model, tmp_path):
    save(model, tmp_path / "model.safetensors")
    return describe(model, "vit", {}, "random", transform={"resize": [48, 48], "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3,
                                                 "std": [0.5] * 3}, protocol=CORRECTED, weights=tmp_path / "model.safetensors")  # fmt: skip


@pytest.fixture(params=list(ARCHS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_self_only_isolates_image_tokens(tmp_path) -> None:
    model, _ = build("cls")
    card = card_of(model, tmp_path)
    mask = perturbation.attention_mask("self_only", card, torch.device("cpu"))
    images = torch.randn(2, 3, 48, 48)
    states = token_pruning.embed(model, images)
    before = token_pruning.last_states(model, states, mask)
    states[:, 5] = 10 * torch.randn(24)
    after = token_pruning.last_states(model, states, mask)
    changed = (before - after).abs().amax(dim=2) > 1e-7
    assert changed[:, 0].all()
    assert changed[:, 5].all()
    assert not changed[:, [1, 2, 3, 4, 6, 7, 8, 9]].any()


def test_without_attention_to_cls_image_tokens_do_not_see_it(tmp_path) -> None:
    model, _ = build("registers")
    mask = perturbation.attention_mask("no_cls", card_of(model, tmp_path), torch.device("cpu"))
    assert mask[:4].all()
    assert not mask[4:, 0].any()
    assert mask[4:, 1:].all()


def test_conditions_need_what_they_need(tmp_path) -> None:
    pooled, _ = build("pooled")
    card = card_of(pooled, tmp_path)
    assert perturbation.conditions(card, ["attention", "tokens"], masks=False) == ["none", "self_only"]
    assert perturbation.conditions(card, ["tokens"], masks=True) == ["none", "without_context", "without_class"]


def test_steps() -> None:
    assert deletion.steps(4, None, False, CORRECTED) == [0, 1, 2, 3, 4]
    assert deletion.steps(4, None, True, CORRECTED) == [0, 1, 2, 3]
    assert deletion.steps(4, None, False, PAPER) == [1, 2, 3]
    assert deletion.steps(100, 3, False, CORRECTED) == [0, 50, 100]
    assert deletion.steps(100, 7, False, CORRECTED) == [0, 1, 25, 50, 75, 99, 100]
    assert deletion.steps(100, 5, False, PAPER) == [1, 26, 50, 74, 99]
    for tokens, count in ((48, 25), (196, 25), (48, 13)):
        found = deletion.steps(tokens, count, False, CORRECTED)
        assert len(found) == count
        assert [tokens - step for step in reversed(found)] == found  # the negative order read backwards is insertion


def test_orders() -> None:
    relevance = np.array([[0.1, 0.9, 0.5]])
    assert deletion.removal_order(relevance, "negative").tolist() == [[0, 2, 1]]
    assert deletion.removal_order(relevance, "positive").tolist() == [[1, 2, 0]]


def test_curves_are_those_of_images_without_the_tokens(name: str) -> None:
    model, lens = build(name)
    images, classes = torch.randn(3, 3, 48, 48), torch.tensor([0, 1, 2])
    orders = torch.stack([torch.stack([torch.randperm(9) for _ in range(3)]) for _ in range(2)])
    removed = deletion.steps(9, None, lens.pooled, CORRECTED)
    batch = SimpleNamespace(images=images, classes=classes)
    correct = deletion.after_removal(model, lens, batch, orders, removed).correct
    states = token_pruning.embed(model, images)
    for curve in range(2):
        for step, number in enumerate(removed):
            kept = torch.ones(states.shape[:2], dtype=torch.bool)
            kept.scatter_(1, orders[curve, :, :number] + model.num_prefix_tokens, False)
            output = token_pruning.run(model, lens, token_pruning.keep(model, states, kept))[1]
            assert torch.equal(correct[curve, :, step], output.argmax(dim=1) == classes)


def test_what_several_curves_keep_of_an_image_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, lens = build("cls")
    orders = torch.arange(9).repeat(4, 3, 1)
    orders[1, :, :2] = torch.tensor([1, 0])  # differs from the first curve only after the first removal
    orders[2, 0] = orders[2, 0].flip(0)  # differs in one image
    states, rows = token_pruning.embed(model, torch.randn(3, 3, 48, 48)), []
    at = token_pruning.at
    monkeypatch.setattr(token_pruning, "at", lambda *given: rows.append(len(given[2])) or at(*given))
    for number in (0, 1, 2, 9):
        found = deletion.outputs(model, lens, states, orders[:, :, number:])
        for curve, order in enumerate(orders):
            alone = deletion.outputs(model, lens, states, order[None, :, number:])[0]
            assert torch.allclose(found[curve], alone, atol=1e-5)
    assert rows[::5] == [3, 7, 4, 3]


def test_area() -> None:
    accuracy = np.array([1.0, 1.0, 0.0])
    assert deletion_curves.area(accuracy, [0, 1, 2], 2, CORRECTED) == pytest.approx(0.75)
    assert deletion_curves.area(np.array([0.5, 0.25]), [1, 2], 3, PAPER) == pytest.approx(0.75 / (0.5 * 3))


def test_pairs_of_methods_are_compared_on_the_same_images() -> None:
    rng = np.random.default_rng(0)
    images, steps = 40, [0, 2, 4]
    rows = []
    for method, rate in (("ours", 0.9), ("chefer", 0.9), ("rollout", 0.2), ("random", 0.4)):
        for order in ("negative",) if method == "random" else ("negative", "positive"):
            correct = np.random.default_rng(1).random((images, 3)) < 0.9 if method != "rollout" else rng.random((images, 3)) < rate
            rows += [
                {"method": method, "order": order, "draw": 0, "image_id": image, "correct": correct[image].tolist()}
                for image in range(images)
            ]
    numbers = pl.col("correct").cast(pl.List(pl.Float32))
    frame = pl.DataFrame(rows).with_columns(pl.col("correct").cast(pl.List(pl.Boolean)), probability=numbers)
    _, areas = deletion_curves.tables(frame, steps, 4, CORRECTED, 0)
    found = deletion_curves.differences(frame, steps, 4, CORRECTED, 0)
    assert len(found) == 2 * 2 * 6
    of = {(row["method"], row["order"]): row["area"] for row in areas.iter_rows(named=True)}
    for row in found.iter_rows(named=True):
        known = of[row["method"], row["order"]] - of[row["other"], row["order"]]
        assert row["difference"] == pytest.approx(known) and row["images"] == images
    equal, better = found.filter(method="ours", other="chefer"), found.filter(method="ours", other="rollout")
    assert (equal["difference"] == 0).all() and (equal["p"] == 1).all()
    assert (better["low"] > 0).all() and (better["p"] < 0.03).all()
    assert deletion_curves.differences(frame, steps, 4, PAPER, 0)["p"].is_nan().all()
    alone = deletion_curves.differences(frame.filter(image_id=0), steps, 4, CORRECTED, 0)
    assert alone.schema == found.schema and alone["low"].null_count() == len(alone)  # tables of several models are joined
