"""Methods of relevance maps beside ours: their definitions by autograd, in double precision, in every family that they know."""

import re
from collections.abc import Callable

import pytest
import timm
import torch
from conftest import REPOSITORY
from small_families import images, named
from test_families import MASKED, moved
from torch import Tensor

from classlens.analyses import integrated_gradients as ig
from classlens.analyses import relevance
from classlens.analyses.attention_relevance import attention_maps
from classlens.analyses.attnlrp import attnlrp, rules
from classlens.analyses.grad_cam import grad_cam
from classlens.analyses.legrad import legrad
from classlens.analyses.relevance import block_projection, class_loss, class_relevance
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families, token_pruning
from classlens.models.class_embedding import ClassEmbedding
from classlens.protocol import CORRECTED, PAPER, Protocol
from classlens.trace import Trace, ViT, unfused
from classlens.vocabulary import CLASS_AGNOSTIC_METHODS, METHODS
from families import Family

EACH = pytest.mark.parametrize("family", MASKED, ids=named)
WANTED = [torch.tensor([0, 3, 6]), torch.tensor([1, 1, 2])]


def built(family: Family) -> tuple[ViT, Lens, Tensor]:
    model = family.build().double()
    return model, Lens.from_model(model), images(model)


def of_class(output: Tensor, wanted: Tensor) -> Tensor:
    return output[torch.arange(len(wanted)), wanted].sum()


def close(ours: Tensor, expected: Tensor, relative: float = 1e-9) -> None:
    assert expected.detach().abs().max() > 0
    torch.testing.assert_close(ours, expected.detach(), atol=relative * float(expected.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("protocol", [CORRECTED, PAPER], ids=lambda protocol: protocol.name)
@EACH
def test_relevance_times_attention_is_minus_the_gradient_by_the_scores(family: Family, protocol: Protocol) -> None:
    model, lens, pictures = built(family)
    ours = class_relevance(model, lens, pictures, WANTED, protocol, with_attention=True)
    expected = torch.zeros(())
    for block in range(len(model.blocks)):
        scores = []

        def follow(weights: Tensor, scores: list[Tensor] = scores) -> Tensor:
            scores.append(weights.detach().log().requires_grad_())  # softmax knows scores up to a constant
            return scores[0].softmax(dim=-1)

        name = f"attn_out.{block}"
        with torch.enable_grad(), unfused(model), Trace(model, {name: lambda written: written}, {f"attn_weights.{block}": follow}) as trace:
            model(pictures)
            logits = block_projection(lens, trace[name])
            gradients = [torch.autograd.grad(class_loss(logits, wanted, protocol), scores, retain_graph=True)[0] for wanted in WANTED]
        of_queries = torch.stack([gradient.sum(dim=2) if lens.pooled else gradient[:, :, 0] for gradient in gradients])
        expected = expected - of_queries.sum(dim=2)
    close(ours.attention_gradient, expected[..., lens.prefix_tokens :])
    close(ours.relevance, class_relevance(model, lens, pictures, WANTED, protocol).relevance)


@EACH
def test_positive_parts(family: Family) -> None:
    found = class_relevance(*built(family), WANTED, CORRECTED)
    by_head = found.relevance
    close(found.relu, torch.where(by_head > 0, by_head, 0).sum(dim=(2, 3)))
    close(found.ours, by_head.sum(dim=3).sum(dim=2))


def block_score(model: ViT, states: Tensor, wanted: Tensor) -> Tensor:
    """The logit of the mean of all tokens, as the model's modules give it."""
    mean = model.norm(states.mean(dim=1)) if hasattr(model, "norm") else states.mean(dim=1)
    mean = model.fc_norm(mean) if hasattr(model, "fc_norm") else mean
    logits = model.head(mean)
    if hasattr(model, "head_dist"):
        logits = (logits + model.head_dist(mean)) / 2
    return of_class(logits, wanted)


@EACH
def test_legrad(family: Family) -> None:
    model, lens, pictures = built(family)
    maps = []
    for block in range(len(model.blocks)):
        kept = []

        def follow(weights: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(weights.detach().requires_grad_())
            return kept[0]

        name = f"resid_post.{block}"
        with torch.enable_grad(), unfused(model), Trace(model, {name: lambda states: states}, {f"attn_weights.{block}": follow}) as trace:
            model(pictures)
            gradients = [torch.autograd.grad(block_score(model, trace[name], wanted), kept, retain_graph=True)[0] for wanted in WANTED]
        maps.append(torch.stack([gradient.relu().flatten(1, 2).mean(dim=1) for gradient in gradients]))
    close(legrad(model, lens, pictures, WANTED), sum(maps)[..., lens.prefix_tokens :] / len(maps))


@EACH
def test_grad_cam(family: Family) -> None:
    model, lens, pictures = built(family)
    last = len(model.blocks) - 1
    with Trace(model, [f"resid_post.{last - 1}"]) as trace:
        model(pictures)
    states = trace[f"resid_post.{last - 1}"].clone().requires_grad_()
    arguments = families.block_arguments(model, None)[last]
    for wanted, found in zip(WANTED, grad_cam(model, lens, pictures, WANTED), strict=True):
        of_class(lens.output(model.blocks[last](states, **arguments)), wanted).backward()
        first = lens.prefix_tokens
        expected = torch.einsum("itd,id->it", states[:, first:], states.grad[:, first:].mean(dim=1)).relu()
        close(found, expected)
        states.grad = None


@EACH
def test_integrated_gradients_are_complete(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens' shares sum to the difference of the logits of image and baseline; prefix tokens do not differ from theirs."""
    monkeypatch.setattr(ig, "STEPS", 128)
    model, lens, pictures = built(family)
    with torch.no_grad():
        baseline = token_pruning.embed(model, pictures).mean(dim=0)
        at_baseline = lens.output(token_pruning.last_states(model, baseline[None]))
        gained = torch.stack([(model(pictures) - at_baseline).gather(1, wanted[:, None])[:, 0] for wanted in WANTED])
    close(ig.integrated_gradients(model, lens, pictures, WANTED, baseline).sum(dim=-1), gained, relative=5e-3)


def constants(model: ViT, gradients: dict[str, Tensor], weights: list[Tensor], of_weights: list[Tensor]) -> Tensor:
    """Return what flows into biases, relative positions, and the constant part of softmax, instead of into tokens."""
    total = torch.zeros(())
    for name, gradient in gradients.items():
        halves = 2 if "relative_position" in name else 1  # half of the relevance of scores goes to queries, and half to keys
        total = total + halves * (dict(model.named_parameters())[name] * gradient).sum()
    for attention, gradient in zip(weights, of_weights, strict=True):
        of_scores = attention * (gradient - (attention * gradient).sum(dim=-1, keepdim=True))
        total = total + 2 * ((attention * gradient).sum() - (attention.log() * of_scores).sum())
    return total


def conserved(model: ViT, lens: Lens, pictures: Tensor) -> None:
    """Check that tokens and constants receive the whole logit."""
    names = [name for name, _ in model.named_parameters() if name.endswith("bias") or "relative_position_bias" in name]
    parameters = [dict(model.named_parameters())[name].requires_grad_() for name in names]
    sites = [f"attn_weights.{block}" for block in range(len(model.blocks))]
    wanted = WANTED[0]
    follow: Callable[[Tensor], Tensor] = lambda states: states.detach().requires_grad_()  # noqa: E731
    with torch.enable_grad(), Trace(model, dict.fromkeys(["resid_pre.0", *sites], lambda states: states), {"resid_pre.0": follow}) as trace:
        with rules(model):
            output = model(pictures)
        tokens, weights = trace["resid_pre.0"], [trace[site] for site in sites]
        found = torch.autograd.grad(of_class(output, wanted), [tokens, *weights, *parameters], allow_unused=True)
    of_tokens, of_weights, of_parameters = found[0], list(found[1 : 1 + len(sites)]), found[1 + len(sites) :]
    used = {name: gradient for name, gradient in zip(names, of_parameters, strict=True) if gradient is not None}
    in_tokens = (tokens * of_tokens).sum(dim=-1)
    close(in_tokens.sum() + constants(model, used, weights, of_weights), of_class(output, wanted))
    close(attnlrp(model, lens, pictures, [wanted])[0], in_tokens[:, lens.prefix_tokens :])
    torch.testing.assert_close(output.detach(), model(pictures).detach())


@EACH
def test_attnlrp_conserves_relevance(family: Family) -> None:
    conserved(*built(family))


@pytest.mark.parametrize("projected", [False, True])
def test_attnlrp_conserves_relevance_through_a_cosine(projected: bool) -> None:
    model, _, pictures = built(MASKED[0])
    projection = torch.nn.Linear(24, 5).double() if projected else None
    model.head = ClassEmbedding(torch.randn(7, 5 if projected else 24).double(), torch.randn(7).double(), projection, True, 0.1)
    conserved(model, Lens.from_model(model), pictures)


def test_rules_end_with_their_block() -> None:
    model, _, pictures = built(MASKED[0])
    before = torch.autograd.functional.jacobian(lambda seen: model(seen).sum(), pictures)
    with rules(model):
        inside = torch.autograd.functional.jacobian(lambda seen: model(seen).sum(), pictures)
    torch.testing.assert_close(torch.autograd.functional.jacobian(lambda seen: model(seen).sum(), pictures), before)
    assert (inside - before).abs().max() > 0.1 * before.abs().max()


def test_attnlrp_refuses_gated_attention() -> None:
    model, lens, pictures = built(MASKED[0])
    model.blocks[0].attn.gate = torch.nn.Identity()
    with pytest.raises(InputError, match="leave `attnlrp` out"):
        attnlrp(model, lens, pictures, WANTED)


def test_a_model_with_one_block_has_no_grad_cam() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=48, embed_dim=24, num_heads=2, depth=1, num_classes=7).eval()
    assert grad_cam(model, Lens.from_model(model), images(model, 2, torch.float32), [torch.tensor([0, 1])]).isnan().all()


def maps_of(model: ViT) -> dict[str, Tensor]:
    lens, pictures = Lens.from_model(model), images(model)
    ours = class_relevance(model, lens, pictures, WANTED, CORRECTED, with_attention=True)
    chefer, rollout, last = attention_maps(model, lens, pictures, WANTED)
    with torch.no_grad():
        baseline = token_pruning.embed(model, pictures).mean(dim=0)
    return {
        "ours": ours.ours,
        "relu": ours.relu,
        "attention_gradient": ours.attention_gradient,
        "legrad": legrad(model, lens, pictures, WANTED),
        "attnlrp": attnlrp(model, lens, pictures, WANTED),
        "grad_cam": grad_cam(model, lens, pictures, WANTED),
        "integrated_gradients": ig.integrated_gradients(model, lens, pictures, WANTED, baseline),
        "chefer": torch.stack(chefer),
        "rollout": rollout,
        "last_attention": last,
        "random": torch.from_numpy(relevance.random_map(0, 0, 0, 9)),
    }


def documented() -> dict[str, list[str]]:
    """The rows of the page's table of methods."""
    page = (REPOSITORY / "docs" / "analyses" / "relevance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", page, re.MULTILINE)
    return {method: [cell.strip() for cell in cells.split("|")] for method, cells in rows}


def test_the_page_says_which_methods_depend_on_the_class() -> None:
    assert {method: row[2] for method, row in documented().items()} == {
        method: "no" if method in CLASS_AGNOSTIC_METHODS else "yes" for method in METHODS
    }


def test_the_page_says_which_methods_move_with_a_constant_that_changes_no_output() -> None:
    model = MASKED[0].build().double()
    maps, others = maps_of(model), maps_of(moved(model))
    moves = {name: float((maps[name] - others[name]).norm() / maps[name].norm()) for name in maps}
    assert {name: "yes" if size > 1e-9 else "no" for name, size in moves.items()} == {
        name: row[3] for name, row in documented().items() if name in maps
    }
    assert {size > 0.01 for size in moves.values() if size > 1e-9} == {True}


def test_rollout_and_last_attention_need_no_class() -> None:
    model, lens, pictures = built(MASKED[0])
    chefer, *others = attention_maps(model, lens, pictures, [])
    assert chefer == []
    for ours, expected in zip(others, attention_maps(model, lens, pictures, WANTED)[1:], strict=True):
        torch.testing.assert_close(ours, expected)
