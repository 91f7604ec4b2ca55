"""The measures per image on small made-up projections, in both protocols, against loops that follow the definitions."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from classlens.analyses import building, context, identifiability
from classlens.analyses.groups import TokenLabels, by_position
from classlens.analyses.projection_table import Projections
from classlens.models.card import Card
from classlens.presentation.series import Series, depth_axis, paired_blocks
from classlens.protocol import CORRECTED, PAPER, PROTOCOLS, Protocol
from classlens.vocabulary import PROJECTED_SITES, TOKEN_LABELS

IMAGES, DEPTH, CLASSES = 4, 3, 6


def card(cls_token: bool = True, prefix: int = 1) -> Card:
    facts: dict[str, Any] = {"arch": "a", "kwargs": {}, "width": 8, "heads": 2, "transform": {}, "source": "s", "sha256": "0"}
    pooling = "token" if cls_token else "mean"
    return Card(classes=CLASSES, depth=DEPTH, grid=(2, 2), prefix_tokens=prefix, cls_token=cls_token, pooling=pooling, **facts)


def projections(known: Card, seed: int = 0) -> Projections:
    rng = np.random.default_rng(seed)
    shape = (IMAGES, known.tokens, len(PROJECTED_SITES), known.depth)
    ranks, top = rng.integers(0, CLASSES, (2, *shape))
    return Projections(list(range(IMAGES)), ranks, rng.normal(size=shape).astype(np.float32), top[..., None])


def labels(known: Card) -> TokenLabels:
    import pyarrow as pa

    codes = np.array([[0, 1, 1, 2], [0, 0, 1, 1], [1, 1, 1, 1]], np.int8)  # the last image has no mask
    label = pa.DictionaryArray.from_arrays(pa.array(codes.ravel()), pa.array(TOKEN_LABELS))
    return TokenLabels(pa.table({"image_id": np.repeat(np.arange(3, dtype=np.int32), 4), "label": label}), known)


def value(frame: pl.DataFrame, column: str, tokens: str, image: int, block: int) -> Any:
    return frame.filter(tokens=tokens, image_id=image, block=block)[column].item()


def test_groups_of_a_model_with_registers() -> None:
    groups = by_position(card(prefix=3), 2)
    assert groups["cls"].tolist() == [[True] + [False] * 6] * 2
    assert groups["image"].tolist() == [[False] * 3 + [True] * 4] * 2
    assert set(by_position(card(cls_token=False, prefix=0), 2)) == {"image"}


def test_identifiability_per_image() -> None:
    known, batch = card(), projections(card())
    frame, counts = identifiability.per_image([batch], known, CORRECTED)
    ranks = batch.of(batch.rank, "resid_post")
    logits = batch.of(batch.logit, "resid_post")
    for image in range(IMAGES):
        for block in range(DEPTH):
            assert value(frame, "identifiability", "cls", image, block) == pytest.approx(1 - ranks[image, 0, block] / CLASSES)
            assert value(frame, "identifiability", "image", image, block) == pytest.approx(1 - ranks[image, 1:, block].mean() / CLASSES)
            assert value(frame, "first", "image", image, block) == pytest.approx((ranks[image, 1:, block] == 0).mean())
            wanted = (logits[image, 1:, block] > logits[image, 1:, block - 1]).mean() if block else None
            assert value(frame, "change_rate", "image", image, block) == (pytest.approx(wanted) if block else None)
    assert counts["count"].sum() == IMAGES * known.tokens * DEPTH
    assert counts.filter(tokens="image", block=2, rank=1)["count"].sum() == (ranks[:, 1:, 2] == 1).sum()


def test_batches_do_not_matter() -> None:
    known, batch = card(), projections(card())
    parts = [Projections([i], batch.rank[i : i + 1], batch.logit[i : i + 1], batch.top[i : i + 1]) for i in range(IMAGES)]
    whole, split = (identifiability.per_image(batches, known, CORRECTED) for batches in ([batch], parts))
    assert whole[0].equals(split[0])
    assert whole[1].equals(split[1])


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_first_patch_of_pooled_models(protocol: Protocol) -> None:
    known = card(cls_token=False, prefix=0)
    batch = projections(known)
    frame, _ = identifiability.per_image([batch], known, protocol)
    ranks = batch.of(batch.rank, "resid_post")[0, :, 2]
    start = 1 if protocol is PAPER else 0
    assert value(frame, "first", "image", 0, 2) == pytest.approx((ranks[start:] == 0).mean())
    assert value(frame, "identifiability", "image", 0, 2) == pytest.approx(1 - ranks.mean() / CLASSES)


def test_context_leaves_ignored_tokens_and_images_without_masks_out() -> None:
    known, batch = card(), projections(card())
    frame = context.per_image([batch], labels(known), known)
    ranks = batch.of(batch.rank, "resid_post")
    assert value(frame, "identifiability", "class", 0, 1) == pytest.approx(1 - ranks[0, 1, 1] / CLASSES)
    assert value(frame, "identifiability", "context", 0, 1) == pytest.approx(1 - ranks[0, 2:4, 1].mean() / CLASSES)
    assert value(frame, "identifiability", "class", 2, 1) is None
    assert value(frame, "n", "class", 3, 1) == value(frame, "n", "context", 3, 1) == 0


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_building(protocol: Protocol) -> None:
    known, batch = card(), projections(card())
    changes, compositions = building.per_image([batch], labels(known), known, protocol)
    assert set(changes["tokens"]) == {"cls", "image", "class", "context"}
    assert changes["block"].min() == compositions["block"].min() == 1
    logit = {site: batch.of(batch.logit, site)[1] for site in PROJECTED_SITES}
    top = {site: batch.of(batch.top, site)[1, ..., 0] for site in PROJECTED_SITES}
    for block in (1, 2):
        before = logit["resid_post"][:, block - 1]
        middle = before if protocol is PAPER else logit["resid_mid"][:, block]
        attn, mlp = logit["attn_out"][:, block] - before, logit["mlp_out"][:, block] - middle
        assert value(changes, "attn_change", "image", 1, block) == pytest.approx((attn[1:] > 0).mean())
        assert value(changes, "mlp_change", "class", 1, block) == pytest.approx((mlp[1:3] > 0).mean())
        assert value(changes, "mlp_logit_change", "context", 1, block) == pytest.approx(mlp[3:5].mean(), abs=1e-6)
        now, sources = top["resid_post"][:, block], [top["resid_post"][:, block - 1], top["attn_out"][:, block], top["mlp_out"][:, block]]
        none = np.all([now != source for source in (sources[:2] if protocol is PAPER else sources)], axis=0)
        assert value(compositions, "composition", "all", 1, block) == pytest.approx(none.mean())
        assert value(compositions, "mlp", "all", 1, block) == pytest.approx((now == sources[2]).mean())


def test_building_without_masks() -> None:
    changes, _ = building.per_image([projections(card())], None, card(), CORRECTED)
    assert set(changes["tokens"]) == {"cls", "image"}


def test_models_of_different_depth() -> None:
    def series(depth: int) -> Series:
        rows = [{"tokens": "image", "image_id": 0, "block": block, "n": 4, "x": float(block)} for block in range(depth)]
        return Series(str(depth), str(depth), None, pl.DataFrame(rows), CLASSES)

    shallow, deep = series(12), series(24)
    assert depth_axis([shallow, deep], CORRECTED)
    assert not depth_axis([shallow, deep], PAPER)
    assert paired_blocks(deep.frame, "x")["x"].to_list() == [2 * block + 0.5 for block in range(12)]
    assert paired_blocks(shallow.frame, "x").equals(shallow.frame)
