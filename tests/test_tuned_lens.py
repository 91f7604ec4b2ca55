"""The tuned lens: exact identities in double precision, scikit-learn's ridge regression, and a planted rotation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from classlens.analyses import tuned_lens, tuned_lens_refinement
from classlens.analyses.tuned_lens import AffineMap, Division, Moments, TunedLens, fit, parts_of
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models.card import Card
from classlens.protocol import CORRECTED
from families import SMALL

WIDTH, DEPTH, TOKENS, IMAGES = 8, 3, 5, 40
KINDS = np.array(["cls", "image", "image", "image", "image"])


@pytest.fixture
def states() -> Tensor:
    """Hidden states [block, image, token, width] in double precision, with one dimension much larger than the others."""
    torch.manual_seed(0)
    steps = torch.randn(DEPTH, IMAGES, TOKENS, WIDTH, dtype=torch.float64)
    steps[..., 0] *= 100
    return steps.cumsum(dim=0)


def in_batches(states: Tensor) -> tuned_lens.Batches:
    def batches(block: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(states[block].split(7), states[-1].split(7), strict=True)

    return batches


def test_the_last_block_is_not_changed(states: Tensor) -> None:
    maps = fit(in_batches(states), Division(KINDS, np.zeros(IMAGES, int)), 1e-3, DEPTH)
    for kind in ("cls", "image"):
        one = maps[0, kind, DEPTH - 1]
        assert not one.weight.any() and not one.bias.any()
        assert torch.equal(one(states[-1]), states[-1])


def test_maps_are_ridge_regressions_of_the_change(states: Tensor) -> None:
    strength = 0.01
    maps = fit(in_batches(states), Division(KINDS, np.zeros(IMAGES, int)), strength, DEPTH)
    for kind in ("cls", "image"):
        pair = [states[block][:, kind == KINDS].flatten(0, 1).numpy() for block in (0, -1)]
        alpha = strength * pair[0].var(axis=0).mean() * len(pair[0])
        known = Ridge(alpha=alpha).fit(pair[0], pair[1] - pair[0])
        np.testing.assert_allclose(maps[0, kind, 0].weight.T, known.coef_, atol=1e-12)
        np.testing.assert_allclose(maps[0, kind, 0].bias, known.intercept_, atol=1e-12)


def test_a_strong_ridge_leaves_only_the_mean_change(states: Tensor) -> None:
    one = fit(in_batches(states), Division(KINDS, np.zeros(IMAGES, int)), 1e12, DEPTH)[0, "cls", 0]
    assert one.weight.abs().max() < 1e-9
    torch.testing.assert_close(one.bias, (states[-1] - states[0])[:, 0].mean(dim=0), atol=1e-6, rtol=0)


def test_a_rotation_of_the_stream_is_undone() -> None:
    torch.manual_seed(0)
    last = torch.randn(400, WIDTH, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, dtype=torch.float64))
    moments = Moments(WIDTH)
    moments.add(last @ rotation + 3, last)
    one = moments.ridge(1e-9)
    torch.testing.assert_close(one(last @ rotation + 3), last, atol=1e-6, rtol=0)
    torch.testing.assert_close(one.weight + torch.eye(WIDTH), rotation.T, atol=1e-6, rtol=0)


def test_batches_and_large_means_do_not_matter(states: Tensor) -> None:
    first, last = states[0].flatten(0, 1).float() + 1000, states[-1].flatten(0, 1).float()
    whole, parts = Moments(WIDTH), Moments(WIDTH)
    whole.add(first.double(), last.double())
    for piece in zip(first.split(3), last.split(3), strict=True):
        parts.add(*piece)
    torch.testing.assert_close(parts.ridge(1e-3).weight, whole.ridge(1e-3).weight, atol=2e-4, rtol=0)


def test_equal_states_say_nothing() -> None:
    moments = Moments(2)
    moments.add(torch.ones(3, 2).double(), torch.tensor([[1.0, 2.0]] * 3).double())
    assert moments.ridge(1e-3)(torch.ones(1, 2).double()).tolist() == [[1, 2]]


def test_halves_are_fitted_on_each_other(states: Tensor) -> None:
    parts = parts_of(np.arange(IMAGES), 2, 0)
    assert np.bincount(parts).tolist() == [IMAGES // 2, IMAGES // 2]
    maps = fit(in_batches(states), Division(KINDS, parts), 1e-3, DEPTH)
    alone = fit(in_batches(states[:, parts == 1]), Division(KINDS, np.zeros(IMAGES // 2, int)), 1e-3, DEPTH)
    torch.testing.assert_close(maps[0, "image", 1].weight, alone[0, "image", 1].weight, atol=1e-9, rtol=0)
    found = TunedLens(KINDS, maps, 2).translated(states[1], 1, parts)
    row = int(np.flatnonzero(parts == 0)[3])
    torch.testing.assert_close(found[row, 2], alone[0, "image", 1](states[1, row, 2]), atol=1e-9, rtol=0)


def test_one_image_is_too_few_for_halves(states: Tensor) -> None:
    with pytest.raises(InputError, match="no images to be fitted on"):
        fit(in_batches(states[:, :1]), Division(KINDS, np.ones(1, int)), 1e-3, DEPTH)


def test_maps_are_written_and_read(states: Tensor, tmp_path: Path) -> None:
    lens = TunedLens(KINDS, fit(in_batches(states), Division(KINDS, np.zeros(IMAGES, int)), 1e-3, DEPTH), 1, 7)
    lens.write(tmp_path / "maps.safetensors", {"model_sha256": "a"})
    read = TunedLens.read(tmp_path / "maps.safetensors", "a")
    assert read.kinds.tolist() == KINDS.tolist() and (read.parts, read.seed) == (1, 7)
    assert torch.equal(read.maps[0, "image", 1].weight, lens.maps[0, "image", 1].weight.float())
    with pytest.raises(InputError, match="belongs to other weights"):
        TunedLens.read(tmp_path / "maps.safetensors", "b")
    (tmp_path / "maps.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"maps\.safetensors cannot be read"):
        TunedLens.read(tmp_path / "maps.safetensors")


@pytest.mark.parametrize(
    ("arch", "kinds"),
    [
        ("vit_tiny_patch16_224", ["cls"]),
        ("deit_tiny_distilled_patch16_224", ["cls", "distillation"]),
        ("vit_small_patch14_reg4_dinov2", ["cls", *["register"] * 4]),
        ("vit_base_patch16_reg4_gap_256", ["register"] * 4),
    ],
)
def test_kinds_of_tokens(arch: str, kinds: list[str]) -> None:
    model = timm.create_model(arch, **SMALL)
    prefix, has_cls = model.num_prefix_tokens, getattr(model, "cls_token", None) is not None
    card = Card(arch, {}, 7, 3, 24, 2, (3, 3), prefix, has_cls, "token", {}, "random", "")
    found = tuned_lens.kinds_of_tokens(card, Lens.from_model(model).second_head is not None)
    assert found.tolist() == [*kinds, *["image"] * 9]


def test_measures_of_the_last_state_are_those_of_the_output() -> None:
    model = timm.create_model("vit_tiny_patch16_224", **SMALL).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.weight)
    lens, states = Lens.from_model(model), torch.randn(3, 5, model.embed_dim)
    output = lens.output(states)
    found = tuned_lens.measures(lens, states, output, output.argmax(dim=-1), CORRECTED)
    assert found["kl"][:, 0].abs().max() < 1e-6
    assert found["first"][:, 0].all() and found["agreement"][:, 0].all() and (found["identifiability"][:, 0] == 1).all()
    expected = (output.softmax(-1)[:, None] * (output.log_softmax(-1)[:, None] - lens(states).log_softmax(-1))).sum(-1)
    torch.testing.assert_close(found["kl"], expected, atol=1e-5, rtol=1e-4)


def test_a_refinement_never_raises_the_divergence_on_held_out_images(states: Tensor) -> None:
    torch.manual_seed(1)
    lens = Lens(torch.nn.LayerNorm(WIDTH), torch.nn.Identity(), torch.nn.Linear(WIDTH, 4), prefix_tokens=1, pooled=False).double()
    batches, parts = in_batches(states), np.zeros(IMAGES, int)
    maps = fit(batches, Division(KINDS, parts), 1e-3, DEPTH)
    refined = tuned_lens_refinement.refine(maps, lens, batches, Division(KINDS, parts), 0)
    held_out = np.flatnonzero(tuned_lens_refinement._held_out(parts, 0))
    assert len(held_out) == IMAGES // 10

    def loss(one: AffineMap, block: int) -> float:
        part = states[block, held_out][:, KINDS == "image"]
        return tuned_lens_refinement.mean_divergence(one, lens, lambda: [(part, lens.output(states[-1, held_out]))])

    for block in range(DEPTH):
        start = min(loss(maps[0, "image", block], block), loss(AffineMap.identity(WIDTH), block))
        assert loss(refined[0, "image", block], block) <= start
    assert loss(refined[0, "image", 0], 0) < loss(maps[0, "image", 0], 0)
