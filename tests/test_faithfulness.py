"""SaCo: its value where it is known, and what random maps have."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from small_families import images, named
from test_families import MASKED

from classlens.analyses import faithfulness
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.protocol import CORRECTED
from families import Family


def falling(values: np.ndarray) -> np.ndarray:
    return -np.sort(-values, axis=-1)


def test_a_map_that_is_the_loss_itself_is_faithful_and_its_reverse_is_not() -> None:
    drop = falling(np.random.default_rng(0).normal(size=(20, 10)))
    np.testing.assert_allclose(faithfulness.saco(drop, drop), 1)
    np.testing.assert_allclose(faithfulness.saco(drop, drop[:, ::-1]), -1)


def test_the_formula_by_loops() -> None:
    rng = np.random.default_rng(1)
    for salience, drop in zip(falling(rng.normal(size=(20, 7))), rng.normal(size=(20, 7)), strict=True):
        total, score = 0.0, 0.0
        for i in range(7):
            for j in range(i + 1, 7):
                weight = salience[i] - salience[j] if drop[i] >= drop[j] else salience[j] - salience[i]
                score, total = score + weight, total + abs(weight)
        assert faithfulness.saco(salience, drop) == pytest.approx(score / total)


def test_random_maps_score_zero_on_average() -> None:
    rng = np.random.default_rng(2)
    found = faithfulness.saco(falling(rng.random((4000, 10))), rng.normal(size=(4000, 10)))
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
    assert found.std() > 0.2


def test_maps_without_differences_have_no_score() -> None:
    assert np.isnan(faithfulness.saco(np.ones((2, 10)), np.zeros((2, 10)))).all()
    frame = pl.DataFrame({"method": ["ours"] * 3 + ["chefer"] * 3, "image_id": [0, 1, 2] * 2, "saco": [0.5, np.nan, 0.1, *[np.nan] * 3]})
    scores, differences = faithfulness.tables(frame, CORRECTED, 0)
    assert scores.select("method", "saco_n", "undefined").rows() == [("ours", 2, 1), ("chefer", 0, 3)]
    assert scores["saco"].to_list() == [pytest.approx(0.3), None]
    assert differences["images"].to_list() == [0]


def test_pairs_are_compared_on_the_same_images() -> None:
    rng = np.random.default_rng(3)
    own = rng.normal(0.3, 0.1, 30)
    values = {"ours": own, "chefer": own - 0.1, "random": rng.normal(0, 0.3, 30)}
    values["random"][0] = np.nan
    frame = pl.concat(pl.DataFrame({"method": name, "image_id": range(30), "saco": of}) for name, of in values.items())
    _, differences = faithfulness.tables(frame, CORRECTED, 0)
    first = differences.row(0, named=True)
    assert (first["method"], first["other"], first["difference"]) == ("ours", "chefer", pytest.approx(0.1))
    assert first["p"] < 0.01
    assert differences["images"].to_list() == [30, 29, 29]
    assert differences["difference"][1] == pytest.approx((own - values["random"])[1:].mean())


def test_groups_cover_all_tokens_once() -> None:
    assert [list(range(196))[place] for place in faithfulness.groups(196)] == [part.tolist() for part in np.array_split(range(196), 10)]
    assert len(faithfulness.groups(4)) == 4


@pytest.mark.parametrize("family", MASKED, ids=named)
def test_drops_are_what_the_probability_loses(family: Family) -> None:
    model = family.build().double()
    lens, pictures, classes = Lens.from_model(model), images(model), torch.tensor([0, 3, 6])
    tokens = model.patch_embed.num_patches
    orders = torch.stack([torch.stack([torch.randperm(tokens) for _ in range(3)]) for _ in range(2)])
    places = faithfulness.groups(tokens)
    found = faithfulness.drops(model, lens, SimpleNamespace(images=pictures, classes=classes), orders, places)
    with torch.inference_mode():
        states = token_pruning.embed(model, pictures)
        intact = model(pictures).softmax(dim=-1)[torch.arange(3), classes]
        for method, group in ((0, 0), (1, len(places) - 1)):
            kept = torch.ones(states.shape[:2], dtype=torch.bool)
            kept.scatter_(1, orders[method][:, places[group]] + lens.prefix_tokens, False)
            left = token_pruning.run(model, lens, token_pruning.keep(model, states, kept))[1].softmax(dim=-1)[torch.arange(3), classes]
            torch.testing.assert_close(found[method, :, group], (intact - left).float(), atol=1e-6, rtol=0)
