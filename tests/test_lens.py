"""Projection and rank."""

from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.analyses.identifiability import chance, class_identifiability
from classlens.errors import InputError
from classlens.lens import MOST_MAGNIFIED, Lens, largest, rank
from classlens.models.loading import accept, build
from classlens.trace import Trace


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 9), st.integers(0, 2**16))
@settings(max_examples=60)
def test_rank_counts_larger_logits_and_equal_ones_of_smaller_index(images: int, tokens: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-2, 3, (images, tokens, classes)).astype(np.float32)  # few values, so that ties are common
    labels = rng.integers(0, classes, images)
    stable = np.argsort(-logits, axis=-1, kind="stable")
    wanted = np.argmax(stable == labels[:, None, None], axis=-1)
    ours = rank(torch.from_numpy(logits), torch.from_numpy(labels))
    assert ours.tolist() == wanted.tolist()
    assert ((ours == 0).numpy() == (logits.argmax(axis=-1) == labels[:, None])).all()
    larger = [[sum(value > row[label] for value in row) for row in image] for image, label in zip(logits, labels, strict=True)]
    assert rank(torch.from_numpy(logits), torch.from_numpy(labels), ties_rank_first=True).tolist() == larger


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**16))
@settings(max_examples=60)
def test_the_largest_logits_are_those_of_a_stable_sort(classes: int, count: int, seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, (3, 4, classes)).astype(np.float32))
    values, indices = largest(logits, count)
    wanted = logits.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(values, wanted.values[..., :count])
    assert torch.equal(indices, wanted.indices[..., :count])


def test_a_state_without_information_has_chance_identifiability() -> None:
    classes = 8
    ranks = rank(torch.zeros(classes, 3, classes), torch.arange(classes))  # one image of each class
    assert class_identifiability(ranks.double(), classes).mean() == pytest.approx(chance(classes))
    assert (ranks == 0).double().mean() == pytest.approx(1 / classes)


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 1, 3)])
def test_a_logit_that_is_nan_has_no_rank(place: tuple[int, int, int]) -> None:
    logits = torch.randn(2, 2, 4)
    logits[place] = torch.nan
    with pytest.raises(InputError, match="a logit is NaN"):
        rank(logits, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="a logit is NaN"):
        largest(logits, 2)


def test_rank_of_distinct_logits_is_the_position_in_sorted_order() -> None:
    logits = torch.randn(5, 7, 11, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 10, 5, 5])
    order = logits.argsort(dim=-1, descending=True)
    assert torch.equal(rank(logits, labels), (order == labels.view(-1, 1, 1)).int().argmax(dim=-1))


def test_mean_identifiability_of_all_ranks_is_chance() -> None:
    for classes in (2, 10, 1000):
        assert class_identifiability(np.arange(classes), classes).mean() == pytest.approx(chance(classes))


@pytest.mark.parametrize(
    ("arch", "kwargs"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}),
        ("vit_base_patch16_rpn_224", {"num_heads": 3}),
        ("deit3_small_patch16_224", {"num_heads": 3}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("vit_base_patch16_clip_224", {"num_heads": 3}),
        ("vit_small_patch16_dinov3", {"num_heads": 3}),
    ],
)
def test_output_of_the_lens_is_the_models(arch: str, kwargs: dict) -> None:
    torch.manual_seed(0)
    model = build(arch, {"img_size": 32, "embed_dim": 48, "num_heads": 3, "depth": 3, **kwargs}, 7)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), Trace(model, ["resid_post.2"]) as trace:
        wanted = model(images)
        lens = Lens.from_model(model)
        torch.testing.assert_close(lens.output(trace["resid_post.2"]), wanted)
        if not lens.pooled and lens.second_head is None:
            torch.testing.assert_close(lens(trace["resid_post.2"])[:, 0], wanted)


REFUSED = [
    ("vit_base_patch16_siglip_224", {"num_heads": 3}),
    ("vit_tiny_patch16_224", {"global_pool": "avgmax"}),
    ("vit_tiny_patch16_224", {"global_pool": "max"}),
    ("vit_tiny_patch16_224", {"global_pool": "map"}),
    ("vit_tiny_patch16_224", {"global_pool": ""}),
    ("vit_tiny_patch16_224", {"global_pool": "prr"}),
    ("vit_tiny_patch16_224", {"global_pool": "avg", "pool_include_prefix": True}),
    ("vit_tiny_patch16_224", {"num_classes": 0}),
    ("vit_tiny_patch16_224", {"depth": 0}),
    ("vit_small_patch16_18x2_224", {}),
    ("vit_dwee_patch16_reg1_gap_256", {}),
]


@pytest.mark.parametrize(("arch", "kwargs"), REFUSED)
def test_the_library_refuses_what_the_workflow_refuses(arch: str, kwargs: dict) -> None:
    model = build(arch, {"img_size": 32, "embed_dim": 48, "num_heads": 3, "depth": 1, **kwargs}, 7)
    with pytest.raises(InputError) as workflow:
        accept(model, "m")
    with pytest.raises(InputError) as library:
        Lens.from_model(model)
    assert str(library.value) == str(workflow.value).replace("model m ", f"model {type(model).__name__} ")


def test_models_of_other_kinds_are_refused_in_one_line() -> None:
    for arch in ("resnet18", "efficientnet_b0"):
        model = build(arch, {}, 7)
        with pytest.raises(InputError, match="not a Vision Transformer with `blocks`"):
            Lens.from_model(model)
    with pytest.raises(InputError, match="model ResNet cannot be traced: it is not a Vision Transformer with `blocks`"):
        Trace(build("resnet18", {}, 7), ["resid_post.0"])
    for site in ("attn_out.0", "attn_heads.0"):
        with pytest.raises(InputError, match="model EfficientNet has no site"):
            Trace(model, [site])


@pytest.mark.parametrize("kwargs", [{}, {"global_pool": "avg", "fc_norm": True}])
def test_logits_of_a_difference_follow_from_those_of_both_states(kwargs: dict[str, object]) -> None:
    lens = Lens.from_model(timm.create_model("vit_tiny_patch16_224", embed_dim=24, num_heads=2, depth=1, num_classes=9, **kwargs)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in lens.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        a, b = torch.randn(2, 4, 5, 24, generator=generator, dtype=torch.float64) * 3 + 1
        assert lens.is_linear_but_for_scale
        torch.testing.assert_close(lens.of_difference(a, b, lens(a), lens(b)), lens(a - b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [1, 10, 90, 110, 1e4])
def test_rounding_errors_of_a_difference_stay_small(factor: float) -> None:
    """In float32, where the deviation of both states is a multiple of that of their difference."""
    generator = torch.Generator().manual_seed(0)
    lens = Lens(torch.nn.LayerNorm(768), torch.nn.Identity(), torch.nn.Linear(768, 50), prefix_tokens=1, pooled=False)
    with torch.no_grad():
        a, difference = torch.randn(2, 3, 768, generator=generator)
        a *= factor
        b = a - difference
        found, expected = lens.of_difference(a, b, lens(a), lens(b)), deepcopy(lens).double()((a - b).double())
    assert (found - expected).abs().max() < 5e-6 * min(factor, MOST_MAGNIFIED)


def test_logits_of_a_constant_difference_are_all_those_of_zeros() -> None:
    lens = Lens(torch.nn.LayerNorm(24), torch.nn.Identity(), torch.nn.Linear(24, 9), prefix_tokens=1, pooled=False)
    with torch.no_grad():
        a = torch.randint(-4, 5, (3, 24)).float()
        for b in (a, a + 2):
            torch.testing.assert_close(lens.of_difference(a, b, lens(a), lens(b)), lens(a * 0), rtol=0, atol=0)


def test_a_rank_needs_no_gradient() -> None:
    assert rank(torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True), torch.tensor([2])).tolist() == [1]


def test_a_head_that_is_not_linear_or_two_norms_have_no_such_shortcut() -> None:
    norm, head = torch.nn.LayerNorm(4), torch.nn.Linear(4, 3)
    assert Lens(norm, torch.nn.Identity(), head, prefix_tokens=1, pooled=False).is_linear_but_for_scale
    for parts in ((norm, norm, head), (torch.nn.Identity(), torch.nn.RMSNorm(4), head), (norm, torch.nn.Identity(), torch.nn.Identity())):
        assert not Lens(*parts, prefix_tokens=1, pooled=False).is_linear_but_for_scale
