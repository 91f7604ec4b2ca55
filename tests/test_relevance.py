"""Relevance maps and their scores, against straightforward computations."""

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from classlens.analyses import attention_relevance, deletion, relevance, relevance_maps, segmentation
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.protocol import CORRECTED, PAPER
from classlens.trace import unfused

SMALL = {"img_size": 48, "patch_size": 16, "embed_dim": 24, "num_heads": 2, "depth": 3, "num_classes": 7}


def test_several_classes_in_one_pass_equal_one_class_each() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    lens, images = Lens.from_model(model), torch.randn(2, 3, 48, 48)
    wanted = [torch.tensor([0, 1]), torch.tensor([6, 2])]
    together = relevance.class_relevance(model, lens, images, wanted, CORRECTED).relevance
    alone = [relevance.class_relevance(model, lens, images, [classes], CORRECTED).relevance[0] for classes in wanted]
    torch.testing.assert_close(together, torch.stack(alone))
    assert torch.is_grad_enabled()


def test_fused_attention_is_put_back() -> None:
    model = timm.create_model("vit_tiny_patch16_224", **SMALL)
    before = [block.attn.fused_attn for block in model.blocks]
    with pytest.raises(RuntimeError), unfused(model):
        raise RuntimeError
    assert [block.attn.fused_attn for block in model.blocks] == before


def test_rollout_of_uniform_attention() -> None:
    uniform = [torch.full((1, 2, 4, 4), 0.25)] * 2
    flow = attention_relevance.rollout(uniform)
    torch.testing.assert_close(flow.sum(dim=-1), torch.ones(1, 4))
    assert flow[0, 0, 1] == pytest.approx(0.75 / 4)


def test_chefer_ignores_negative_gradients() -> None:
    attention = [torch.full((1, 1, 3, 3), 1 / 3)]
    assert torch.equal(attention_relevance.chefer(attention, [-torch.ones(1, 1, 3, 3)])[0], torch.eye(3))


def test_random_maps_depend_on_seed_draw_and_image_only() -> None:
    assert np.array_equal(relevance.random_map(0, 1, 2, 9), relevance.random_map(0, 1, 2, 9))
    assert not np.array_equal(relevance.random_map(0, 1, 2, 9), relevance.random_map(0, 2, 2, 9))


def test_average_precision_is_the_mean_precision_at_each_hit() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.random(50), rng.random(50) < 0.3
    order = np.argsort(-scores)
    hits = truth[order]
    precision = np.cumsum(hits) / np.arange(1, 51)
    assert segmentation.average_precision(scores, truth) == pytest.approx(precision[hits].mean())
    assert segmentation.average_precision(np.zeros(10), np.arange(10) < 4) == pytest.approx(0.4)


def test_scores_of_a_perfect_and_an_inverted_map() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:3, :4] = True
    counts = np.ones((8, 8), bool)
    perfect = segmentation.Score.of(mask.astype(float), mask, counts)
    assert (perfect.right, perfect.object_both, perfect.object_either, perfect.hit, perfect.share) == (64, 12, 12, True, 1.0)
    inverted = segmentation.Score.of(-mask.astype(float), mask, counts)
    assert (inverted.right, inverted.object_both, inverted.hit, inverted.share) == (0, 0, False, None)


def test_trivial_maps_have_the_scores_that_they_must() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:2, :4] = True
    maps = segmentation.trivial_maps((2, 2))
    background = segmentation.Score.of(np.zeros((8, 8)), mask, np.ones((8, 8), bool))
    assert not maps["background"].any()
    assert (background.right, background.object_both, background.object_either) == (56, 0, 8)
    assert (background.hit, background.share) == (None, None)
    assert background.average_precision == pytest.approx(1 / 8)
    centre = segmentation.trivial_maps((5, 3))["centre"].reshape(5, 3)
    assert centre.argmax() == 7
    assert centre[0, 0] == pytest.approx(np.exp(-(0.4**2 + (1 / 3) ** 2) / (2 * 0.25**2)))


def test_ties_are_broken_at_random_and_both_orders_are_strict() -> None:
    values = {"probe": np.array([[0, -1, 0, -1, 0, -2]], np.float32), "ours": np.arange(6, dtype=np.float32)[None]}
    tied = {method for method, maps in values.items() if deletion.has_ties(maps)}
    assert tied == {"probe"}
    found = deletion.curves(values, [7], tied, 0, CORRECTED)
    probe = {(curve.order, curve.draw): curve.removal[0].tolist() for curve in found if curve.method == "probe"}
    assert len(probe) == 2 * deletion.TIE_DRAWS
    for draw in range(deletion.TIE_DRAWS):
        negative = probe["negative", draw]
        assert probe["positive", draw] == negative[::-1]
        assert negative[0] == 5
        assert set(negative[1:3]) == {1, 3}
    assert len({tuple(order) for order in probe.values()}) > 2
    assert sum(curve.method == "ours" for curve in found) == 2
    published = deletion.curves(values, [7], tied, 0, PAPER)
    assert [curve.removal[0].tolist() for curve in published if curve.method == "probe"] == [[5, 1, 3, 0, 2, 4], [0, 2, 4, 1, 3, 5]]


def test_enlarging_keeps_places() -> None:
    large = segmentation.enlarge(np.arange(4, dtype=np.float32)[None], (2, 2), (8, 8))
    assert large.shape == (1, 8, 8)
    assert large[0, -1, -1] == large.max() > large[0, -1, 0]
    wanted = functional.interpolate(torch.arange(4.0).view(1, 1, 2, 2), size=(8, 8), mode="bilinear")[0, 0]
    np.testing.assert_allclose(large[0], wanted)


CLASSES = [("n01", "tench, Tinca tinca"), ("n02", "cat")]


def test_classes_are_found_by_index_id_and_name() -> None:
    import pyarrow as pa

    manifest = pa.table({"path": ["validation/n01/a b.JPEG"], "image_id": [4]})
    found = relevance_maps.resolve_classes({"n01/a b.JPEG": [0, "n02", "Tinca tinca"]}, manifest, CLASSES)
    assert found == {4: [0, 1, 0]}
    with pytest.raises(InputError, match="is not an analysed image"):
        relevance_maps.resolve_classes({"x.JPEG": [0]}, manifest, CLASSES)
    with pytest.raises(InputError, match="'dog' is not one of the"):
        relevance_maps.resolve_classes({"n01/a b.JPEG": ["dog"]}, manifest, CLASSES)
