"""Ablation of heads and MLPs: identities of direct and total effects."""

import pytest
import torch
from small_families import centred, images, named
from torch import Tensor

from classlens.analyses import ablation
from classlens.analyses.ablation import Ablated, Effects, Means
from classlens.analyses.attribution import Attribution, attribution
from classlens.lens import Lens
from classlens.trace import Trace, ViT, starting_at
from families import ACCEPTED, Family

DEPTH, HEADS = 3, 2


def pass_of(model: ViT) -> tuple[Attribution, dict[str, Tensor]]:
    """An attribution, and the means of the states that ablation puts in."""
    means: dict[str, Tensor] = {}
    found = attribution(model, Lens.from_model(model), images(model, 4), lambda name, states: means.__setitem__(name, states.mean(dim=0)))
    return found, means


def by_place(found: list[Ablated]) -> dict[tuple[str, str, int, int], Tensor]:
    return {(item.kind, item.part, item.block, item.head): item.logits for item in found}


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_direct_effects(family: Family) -> None:
    model = family.build().double()
    found, _ = pass_of(model)
    with torch.no_grad():
        output = centred(model(images(model, 4)))
    effects = by_place(list(ablation.direct(found, Means(found.heads.mean(dim=0), found.mlps.mean(dim=0)))))
    torch.testing.assert_close(effects["none", "model", -1, -1], output, atol=1e-10, rtol=1e-10)
    change = output - effects["direct", "head", 1, 0]
    torch.testing.assert_close(change, found.logits(found.heads[:, 1, 0] - found.heads[:, 1, 0].mean(dim=0)), atol=1e-10, rtol=1e-9)
    heads, mlps = (sum(output - effects["direct", part, block, head] for block in range(DEPTH) for head in places)
                   for part, places in (("head", range(HEADS)), ("mlp", [-1])))  # fmt: skip
    torch.testing.assert_close(output - effects["cumulative", "heads", 0, -1], heads, atol=1e-9, rtol=1e-8)
    torch.testing.assert_close(output - effects["cumulative", "mlps", 0, -1], mlps, atol=1e-9, rtol=1e-8)
    torch.testing.assert_close(output - effects["cumulative", "all", 0, -1], heads + mlps, atol=1e-9, rtol=1e-8)


def test_without_all_terms_all_images_have_one_output() -> None:
    model = ACCEPTED[0].build().double()  # [CLS] starts equal in all images
    found, _ = pass_of(model)
    effects = by_place(list(ablation.direct(found, Means(found.heads.mean(dim=0), found.mlps.mean(dim=0)))))
    without = effects["cumulative", "all", 0, -1] - found.logits(found.biases + found.embedding)
    assert (without - without[0]).abs().max() < 1e-13


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_a_pass_that_starts_at_a_block_is_the_whole_pass(family: Family) -> None:
    model = family.build()
    seen = images(model, 4).float()
    with torch.no_grad():
        with Trace(model, ["resid_pre.2"]) as trace:
            whole = model(seen)
        blocks = list(model.blocks)
        with starting_at(model, 2), Trace(model, edit={"resid_pre.2": lambda states: trace["resid_pre.2"]}):
            assert torch.equal(model(seen), whole)
        assert list(model.blocks) == blocks


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_total_effects(family: Family) -> None:
    model = family.build().double()
    seen, (_, means) = images(model, 4), pass_of(model)
    effects = by_place(list(ablation.total(model, seen, means)))
    assert len(effects) == DEPTH * (HEADS + 1)
    lens, last = Lens.from_model(model), DEPTH - 1
    with torch.no_grad():
        with Trace(model, [f"resid_post.{last}", f"mlp_out.{last}"]) as trace:
            model(seen)
        replaced = trace[f"resid_post.{last}"] - trace[f"mlp_out.{last}"] + means[f"mlp_out.{last}"]
        torch.testing.assert_close(effects["total", "mlp", last, -1], centred(lens.output(replaced)), atol=1e-10, rtol=1e-9)
        edits = {
            "attn_heads.1": lambda states: torch.cat([means["attn_heads.1"][:, :12].expand_as(states[..., :12]), states[..., 12:]], -1)
        }
        with Trace(model, edit=edits):
            known = centred(model(seen))
    torch.testing.assert_close(effects["total", "head", 1, 0], known, atol=1e-10, rtol=1e-9)


def test_means_of_the_images_themselves_change_nothing() -> None:
    model = ACCEPTED[0].build().double()
    seen = images(model, 1)
    means: dict[str, Tensor] = {}
    attribution(model, Lens.from_model(model), seen, lambda name, states: means.__setitem__(name, states.mean(dim=0)))
    with torch.no_grad():
        output = centred(model(seen))
    for item in ablation.total(model, seen, means):
        torch.testing.assert_close(item.logits, output, atol=1e-12, rtol=1e-12)


def test_rows() -> None:
    ablated = Ablated("direct", "head", 1, 0, torch.tensor([[1.0, -1.0], [0.5, -0.5]]))
    (found,) = Effects.of([ablated], torch.tensor([0, 1])).rows([7, 8])
    rows = found.to_pylist()
    assert rows[1] == {"kind": "direct", "part": "head", "block": 1, "head": 0, "image_id": 8, "logit": -0.5, "correct": False}
    assert rows[0]["correct"] and rows[0]["logit"] == 1
