"""Memories and classes on small made-up matrices, against loops that follow the definitions."""

import numpy as np
import polars as pl
import pytest
import torch

from classlens.analyses import agreement
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card
from classlens.protocol import CORRECTED, PAPER, PROTOCOLS, Protocol

CLASSES, WIDTH, MEMORIES = 9, 6, 12


@pytest.fixture
def matrices() -> tuple[torch.Tensor, torch.Tensor]:
    """Class embedding [class, width] and values [width, memory]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(CLASSES, WIDTH, generator=generator), torch.randn(WIDTH, MEMORIES, generator=generator)


@pytest.fixture
def active() -> np.ndarray:
    """Active memories of 3 images with 4 tokens."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(MEMORIES)[:5] for _ in range(12)]).reshape(3, 4, 5)


def test_class_value_agreement_is_the_largest_cosine(matrices: tuple[torch.Tensor, torch.Tensor]) -> None:
    embedding, values = (matrix.numpy() for matrix in matrices)
    cosine = [
        max(embedding[c] @ values[:, m] / np.linalg.norm(embedding[c]) / np.linalg.norm(values[:, m]) for m in range(MEMORIES))
        for c in range(CLASSES)
    ]
    np.testing.assert_allclose(agreement.class_value_agreement(*matrices), cosine, rtol=1e-5)


def test_key_value_agreement_in_both_protocols(matrices: tuple[torch.Tensor, torch.Tensor], active: np.ndarray) -> None:
    layer, logits = agreement.LayerMemories.of(*matrices), (matrices[0] @ matrices[1]).numpy()
    classes = np.array([2, 0, 8])
    corrected = layer.key_value_agreement(active, classes, CORRECTED)
    paper = layer.key_value_agreement(active, classes, PAPER)
    for image in range(3):
        for token in range(4):
            used, wanted = active[image, token], classes[image]
            assert corrected[image, token] == any(wanted in np.argsort(-logits[:, memory])[:5] for memory in used)
            assert paper[image, token] == bool(set(used) & set(np.argsort(-logits[wanted])[:5]))


def test_composition_is_the_class_of_an_active_memory(matrices: tuple[torch.Tensor, torch.Tensor], active: np.ndarray) -> None:
    layer, logits = agreement.LayerMemories.of(*matrices), (matrices[0] @ matrices[1]).numpy()
    top = np.random.default_rng(1).integers(0, CLASSES, (3, 4))
    found = layer.composes(active, top)
    for image in range(3):
        for token in range(4):
            assert found[image, token] == (top[image, token] in logits.argmax(axis=0)[active[image, token]])


def test_fewer_classes_than_a_memory_stands_for() -> None:
    layer = agreement.LayerMemories.of(torch.randn(2, WIDTH), torch.randn(WIDTH, MEMORIES))
    assert layer.classes.shape == (MEMORIES, 2)


def test_shares_by_class_are_of_tokens_not_of_images() -> None:
    rows = {"tokens": ["all"] * 2, "image_id": [0, 1], "block": [0, 0], "n": [1, 3], "attn": [1.0, 0.0], "mlp": [0.0, 1.0]}
    frame = pl.DataFrame({**rows, "class_index": [1, 1], "correct": [True, False]})
    (row,) = agreement.by_class(frame, ["cat", "dog"]).iter_rows(named=True)
    assert (row["class_name"], row["attn"], row["mlp"], row["images"]) == ("dog", 0.25, 0.75, 2)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_chance_is_the_mean_over_all_exchanges(protocol: Protocol) -> None:
    rng, images, tokens = np.random.default_rng(0), 5, 3
    layers = {
        (layer, 0): agreement.LayerMemories.of(
            torch.from_numpy(rng.normal(size=(CLASSES, WIDTH))), torch.from_numpy(rng.normal(size=(WIDTH, MEMORIES)))
        )
        for layer in ("attn", "mlp")
    }
    active = rng.permuted(np.tile(np.arange(MEMORIES), (images, tokens, 2, 1, 1)), axis=-1)[..., :5]
    top, classes = rng.integers(0, CLASSES, (images, tokens, 4, 1, 1)), np.array([2, 0, 8, 2, 2])
    card = Card("a", {}, CLASSES, 1, WIDTH, 2, (1, 2), 1, True, "token", {}, "s", "0")
    use = agreement.MemoryUse(layers, card, dict(enumerate(classes.tolist())), protocol)
    empty = np.zeros((images, tokens, 4, 1))
    for image in range(images):  # one batch each
        part = slice(image, image + 1)
        use.add(active[part], Projections([image], empty[part], empty[part], top[part]))
    found = use.chance()
    for index, layer in enumerate(("attn", "mlp")):
        used, memories, written = active[:, :, index, 0], layers[layer, 0], top[:, :, 2 + index, 0, 0]
        exchanged = [memories.key_value_agreement(used, np.full(images, other), protocol) for other in classes]
        composed = [memories.composes(used, np.full((images, tokens), other)) for other in written.ravel()]
        at_cls = [memories.composes(used[:, :1], np.full((images, 1), other)) for other in written[:, 0]]
        rows = {row["tokens"]: row for row in found.filter(layer=layer).iter_rows(named=True)}
        assert rows["all"]["key_value"] == pytest.approx(np.mean(exchanged))
        assert rows["cls"]["key_value"] == pytest.approx(np.mean([one[:, 0] for one in exchanged]))
        assert rows["all"]["composition"] == pytest.approx(np.mean(composed))
        assert rows["cls"]["composition"] == pytest.approx(np.mean(at_cls))
