"""How often the CPU waits for a GPU in each stage: once per batch. The GPU is a fake one (`fake_gpu`)."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from fake_gpu import DEVICE, OF_UNKNOWN_SHAPE, READ, SMALL, TRANSFORM, FakeGpu, fake_gpu
from torch.utils._python_dispatch import TorchDispatchMode

from classlens.analyses import (
    ablation,
    attribution_table,
    attribution_tokens,
    deletion,
    extraction,
    faithfulness,
    memories,
    perturbation,
    projection,
    relevance_maps,
    tuned_lens,
    tuned_lens_refinement,
    twins,
)
from classlens.analyses.groups import TokenLabels
from classlens.compute import transfer
from classlens.compute.device import Compute
from classlens.compute.transfer import rarely, waiting_once
from classlens.data.batches import Batch
from classlens.data.transforms import Transform
from classlens.errors import InputError
from classlens.lens import Lens, _largest_by_keys, largest
from classlens.models import features
from classlens.models.card import Card
from classlens.protocol import CORRECTED, PAPER
from classlens.storage.hidden_states import StoredStates
from classlens.trace import ViT
from classlens.vocabulary import METHODS, PROJECTED_SITES, TOKEN_LABELS

GPU = Compute(DEVICE, batch_size=4)
IMAGES, CLASSES, DEPTH, WIDTH, TOKENS = 4, 7, 3, 32, 5
CARD = Card("vit", {}, CLASSES, DEPTH, WIDTH, 2, (2, 2), 1, True, "token", TRANSFORM, "random", "0")
POOLED = {"class_token": False, "global_pool": "avg"}
BY_POSITION = "eva02_tiny_patch14_224"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "cls": ("vit_tiny_patch16_224", {}),
    "pooled": ("vit_tiny_patch16_224", POOLED),
    "rotary": (BY_POSITION, {}),
    "beit": ("beit_base_patch16_224", {}),
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    with fake_gpu(monkeypatch) as gpu:
        yield gpu


Stage = Callable[[FakeGpu, ViT, Card], Callable[[], object]]
"""Function that prepares a stage for a model, and returns the stage for one batch."""


def card_of(model: ViT) -> Card:
    prefix = model.num_prefix_tokens
    pooling = "mean" if model.global_pool == "avg" else "token"
    return Card("vit", {}, CLASSES, DEPTH, WIDTH, 2, (2, 2), prefix, prefix > 0, pooling, TRANSFORM, "random", "0")


def labels(card: Card) -> TokenLabels:
    """Labels of four images: class and context in the first two, then context only, and none."""
    codes = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], np.int8)
    label = pa.DictionaryArray.from_arrays(pa.array(codes.ravel()), pa.array(TOKEN_LABELS))
    return TokenLabels(pa.table({"image_id": np.repeat(np.arange(3, dtype=np.int32), 4), "label": label}), card)


def extracted(dtype: str, precision: str) -> Stage:
    def stage(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
        batch, reads = gpu.batch(), extraction.reads(DEPTH, dtype) | memories.reads(model, CORRECTED)
        return lambda: extraction.recorded(model, batch, reads, Compute(DEVICE, precision=precision))

    return stage


def perturbed(protocol: Any) -> Stage:
    def stage(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
        batch, names = gpu.batch(), perturbation.conditions(card, ["attention", "tokens"], masks=True)
        perturb = perturbation.Perturbations(model, Lens.from_model(model), card, names, protocol)
        return torch.inference_mode()(lambda: perturb(batch, labels(card)))

    return stage


def explained(protocol: Any) -> Stage:
    def stage(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
        batch, baseline = gpu.batch(), torch.zeros(card.tokens, WIDTH, device=DEVICE)
        classes, named = ["own", "predicted", "rival"], {1: [3], 2: [0, 5]}
        explain = relevance_maps.Explainer(
            model, Lens.from_model(model), METHODS, classes, named, seed=0, protocol=protocol, baseline=baseline
        )
        return lambda: explain(batch)

    return stage


def embedded(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch = gpu.batch()
    return lambda: relevance_maps.embedding_sum(model, batch.images)


def deleted(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch, orders = gpu.batch(), torch.arange(4).expand(3, IMAGES, 4)
    return lambda: deletion.after_removal(model, Lens.from_model(model), batch, orders, [0, 1, 3, 3 + min(1, card.prefix_tokens)])


def scored(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch, maps = gpu.batch(), np.zeros((2, IMAGES, 4), np.float32)
    return lambda: faithfulness.scores(model, Lens.from_model(model), batch, maps, None)


def attributed(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch = gpu.batch()
    return lambda: attribution_table.measured(model, Lens.from_model(model), batch.images, batch.classes)


def attributed_to_tokens(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch, classes = gpu.batch(), torch.zeros(IMAGES, 2, dtype=torch.int64, device=DEVICE)
    return lambda: attribution_tokens.terms(model, Lens.from_model(model), batch.images, classes)


def ablated(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch = gpu.batch()
    means = {
        f"{site}.{block}": torch.zeros(card.tokens, WIDTH, device=DEVICE) for site in ("attn_heads", "mlp_out") for block in range(DEPTH)
    }
    return lambda: ablation.Effects.of(ablation.total(model, batch.images, means), batch.classes)


def featured(gpu: FakeGpu, model: ViT, card: Card) -> Callable[[], object]:
    batch = gpu.batch()
    return lambda: features.features_of(model, batch, GPU)


STAGES: dict[str, Stage] = {
    **{f"extraction, {d}, {p}": extracted(d, p) for d in ("float16", "float32") for p in ("float32", "bfloat16")},
    "perturbation": perturbed(CORRECTED),
    "perturbation, protocol paper": perturbed(PAPER),
    "relevance": explained(CORRECTED),
    "relevance, protocol paper": explained(PAPER),
    "mean embedding": embedded,
    "deletion": deleted,
    "faithfulness": scored,
    "attribution": attributed,
    "attribution to tokens": attributed_to_tokens,
    "ablation": ablated,
    "features": featured,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_waits_for_the_gpu_once_per_batch(gpu: FakeGpu, stage: str, name: str) -> None:
    arch, kwargs = MODELS[name]
    model = gpu.model(arch, **kwargs)
    run = STAGES[stage](gpu, model, card_of(model))
    with gpu.waiting(1):
        run()


def stored_states(card: Card, dtype: str) -> projection.States:
    """Stored hidden states of the images, all zero."""
    columns = extraction.states_schema(DEPTH, WIDTH, dtype)
    zeros = torch.zeros(IMAGES, card.tokens, WIDTH)
    found = {name: extraction.stored(zeros, extraction.DTYPES[dtype]) for name in extraction.columns(DEPTH)}
    return projection.States(
        [*range(IMAGES)], pa.Table.from_batches([extraction.states([*range(IMAGES)], found, card, columns)]), card.tokens
    )


def maps() -> tuned_lens.TunedLens:
    kinds = np.array(["cls", *["image"] * 4])
    of_places = {(part, kind, block): tuned_lens.AffineMap.identity(WIDTH) for part in (0, 1) for kind in kinds for block in range(DEPTH)}
    return tuned_lens.TunedLens(kinds, of_places, parts=2)


@pytest.mark.parametrize("ties_rank_first", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("translate", [None, maps().on_images(np.arange(IMAGES))])
def test_projection_waits_for_the_gpu_once_per_batch(gpu: FakeGpu, translate: Any, dtype: str, ties_rank_first: bool) -> None:
    lens, states = Lens.from_model(gpu.model()), stored_states(CARD, dtype)
    project = projection.Projector(lens, CARD, 5, GPU, PAPER if ties_rank_first else CORRECTED, translate)
    with gpu.waiting(1):
        found, _ = project(states, [[0, 1], [2], [3], [0]], ("resid_post",) if translate else PROJECTED_SITES)
    assert found.top.shape == (IMAGES, TOKENS, 1 if translate else 4, DEPTH, 5)


@pytest.mark.parametrize("with_classes", [False, True])
def test_a_twin_waits_once_for_its_states_and_once_for_their_projections(gpu: FakeGpu, with_classes: bool) -> None:
    twin = twins.Twin(gpu.model(), CARD, None, [], [None] * with_classes, None, {})  # type: ignore[arg-type, list-item]
    batch, settings = gpu.batch(), twins.Settings("float16", 5, [], CORRECTED)
    with gpu.waiting(2):
        twins._measured(twin, batch, settings, GPU)


def pairs(_: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [tuple(torch.zeros(IMAGES, TOKENS, WIDTH, device=DEVICE) for _ in range(2))]  # type: ignore[misc]


def test_a_tuned_lens_waits_for_the_gpu_once_per_batch_or_map(gpu: FakeGpu) -> None:
    lens, parts = Lens.from_model(gpu.model()), np.array([0, 1, 0, 1])
    compare = tuned_lens.Comparison(lens, maps(), CARD, CORRECTED)
    states, last = pairs(0)[0]
    with gpu.waiting(1):
        compare._measured(states, last, 1, torch.zeros(IMAGES, dtype=torch.int64), parts)
    with gpu.waiting(DEPTH * 2 * 2):  # blocks, parts, kinds: to solve for a map; none for a batch
        tuned_lens.fit(pairs, tuned_lens.Division(maps().kinds, parts), 0.1, DEPTH)
    output = torch.zeros(IMAGES, CLASSES, device=DEVICE)
    with gpu.waiting(0):
        tuned_lens_refinement._after_pass(tuned_lens.AffineMap.identity(WIDTH), lens, lambda: [(states, output)] * 2, 0.1)


def test_stored_states_are_copied_to_a_gpu_as_they_are_stored(gpu: FakeGpu) -> None:
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    states = StoredStates(values, np.array([1, 2, 4], np.float32))
    with gpu.waiting(0):
        assert transfer.states_to_device(states, DEVICE, slice(1, 3)).dtype == torch.float32
    assert gpu.copied == [torch.float16, torch.float32]


def test_operations_that_wait_are_seen(gpu: FakeGpu) -> None:
    there, here = torch.zeros(3, device=DEVICE), torch.zeros(3)
    copies = [
        lambda: there.cpu(),
        there.tolist,
        lambda: here.to(DEVICE),
        lambda: there.copy_(here),
        lambda: torch.tensor([1], device=DEVICE),
        lambda: torch.zeros(3, 2).T.to(DEVICE, non_blocking=True),
    ]
    reads = [lambda: bool((there == 0).any()), lambda: there.sum().item(), lambda: there[[0]]]
    reads.append(lambda: there.__setitem__(there == 0, torch.zeros(3, device=DEVICE)))
    for operation in [*copies, *reads]:
        gpu.waits.clear()
        operation()
        assert gpu.waits
    with gpu.waiting(0):
        here.to(DEVICE, non_blocking=True)
        there.copy_(here, non_blocking=True)
        there[0] = 1
        there * torch.tensor(2.0)
    assert (here + 1).tolist() == [1, 1, 1]


def test_a_batch_with_a_rare_condition_runs_again_and_waits_for_it(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = []

    def run() -> transfer.Recorded:
        conditions.append(rarely(torch.zeros((), dtype=torch.bool, device=DEVICE)))
        return {"found": (torch.zeros(2, device=DEVICE),)}

    with gpu.waiting(1):
        assert list(waiting_once(run)) == ["found"]
    assert conditions == [False]
    monkeypatch.setattr(transfer, "_is_true", lambda condition: True)
    assert list(waiting_once(run)) == ["found"]
    assert conditions == [False] * 3
    assert gpu.waits == [READ]


def test_nan_is_found_as_the_batch_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, whose conditions are read as late as those of a GPU."""
    monkeypatch.setattr(transfer, "_is_on_gpu", lambda tensor: tensor.dtype == torch.bool and not tensor.dim())
    monkeypatch.setattr(transfer, "_pinned_like", torch.empty_like)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Mock())
    lens, projected = Lens.from_model(timm.create_model("vit_tiny_patch16_224", **SMALL).eval()), []
    lens.head.bias.data[3] = torch.nan
    monkeypatch.setattr(lens.head, "forward", lambda states: projected.append(states) or lens.head.bias.expand(*states.shape[:-1], CLASSES))
    project = projection.Projector(lens, CARD, 5, Compute(torch.device("cpu")), CORRECTED)
    with pytest.raises(InputError, match="a logit is NaN"):
        project(stored_states(CARD, "float32"), [[0], [1], [2], [3]])
    assert len(projected) == DEPTH * 4 + 1  # three sites and a state of zeros in each block, and the first site again


def test_a_rare_condition_of_a_cpu_counts_at_once() -> None:
    def run() -> transfer.Recorded:
        if rarely(torch.tensor(True)):
            raise InputError("seen")
        raise AssertionError("not seen")

    with pytest.raises(InputError, match="seen"):
        waiting_once(run)


class Operations(TorchDispatchMode):
    """Records the names of all operations."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self._names = names

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._names.add(function._schema.name)
        return function(*args, **(kwargs or {}))


def test_backward_passes_read_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, because the fake GPU leaves them out."""
    model, names, grad = timm.create_model("vit_tiny_patch16_224", **SMALL).eval(), set[str](), torch.autograd.grad

    def recorded(*args: Any, **kwargs: Any) -> Any:
        with Operations(names):
            return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", recorded)
    baseline, pixels = torch.zeros(TOKENS, WIDTH), torch.zeros(IMAGES, 3, 32, 32, dtype=torch.uint8)
    explain = relevance_maps.Explainer(model, Lens.from_model(model), METHODS, ["own"], {}, seed=0, protocol=CORRECTED, baseline=baseline)
    batch = Batch([*range(IMAGES)], torch.zeros(IMAGES, dtype=torch.int64), pixels, Transform(TRANSFORM))
    explain(batch)
    attribution_tokens.terms(model, Lens.from_model(model), batch.images, torch.zeros(IMAGES, 2, dtype=torch.int64))
    assert "aten::native_layer_norm_backward" in names
    assert not names & {READ, *OF_UNKNOWN_SHAPE}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_logits_on_a_gpu_are_those_on_a_cpu(dtype: torch.dtype) -> None:
    logits = torch.randint(-3, 4, (50, 4, 30), generator=torch.Generator().manual_seed(0)).to(dtype) / 3
    logits[:, 0, ::2] *= -1  # with 0.0 and -0.0, which are equal
    logits[:, 1, ::3] = -torch.inf
    logits[0] = 0
    for count in (1, 5, 30):
        for one, other in zip(_largest_by_keys(logits, count), largest(logits, count), strict=True):
            assert torch.equal(one, other)
            assert torch.equal(one.signbit(), other.signbit())
