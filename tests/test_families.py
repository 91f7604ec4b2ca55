"""Every accepted family of models, by equalities that must hold, on small models of the real classes; and every refused one."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from conftest import REPOSITORY
from torch import Tensor

from classlens.analyses import agreement, attention_relevance, memories, relevance
from classlens.errors import InputError
from classlens.lens import Lens
from classlens.models import families, loading, token_pruning
from classlens.protocol import CORRECTED, PAPER, Protocol
from classlens.trace import Trace, ViT, unfused
from families import ACCEPTED, REFUSED, Family, page, reason

DEPTH = 3
MASKED = [family for family in ACCEPTED if families.takes_masks(family.build())]


def named(family: Family) -> str:
    return family.name


def images(model: ViT, count: int = 3) -> Tensor:
    return torch.randn(count, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(1))


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-5 * max(1.0, float(theirs.abs().max())), rtol=1e-4)


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_sites_sum_to_the_stream_and_the_projection_gives_the_logits(family: Family) -> None:
    model = family.build()
    loading.accept(model, family.arch)
    names = [f"{site}.{block}" for site in ("resid_pre", "attn_out", "mlp_out", "resid_post") for block in range(DEPTH)]
    with torch.inference_mode(), Trace(model, names) as trace:
        logits = model(images(model))
        lens = Lens.from_model(model)
        for block in range(DEPTH):
            close(trace[f"resid_pre.{block}"] + trace[f"attn_out.{block}"] + trace[f"mlp_out.{block}"], trace[f"resid_post.{block}"])
        close(lens.output(trace[f"resid_post.{DEPTH - 1}"]), logits)
        if not lens.pooled and lens.second_head is None:
            close(lens(trace[f"resid_post.{DEPTH - 1}"])[:, 0], logits)


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_memories_times_coefficients_give_the_layers_output(family: Family) -> None:
    model = family.build()
    outputs: dict[str, Tensor] = {}
    sites = memories.sites(model, CORRECTED)
    modules = {layer: model.blocks[1].get_submodule(name) for layer, name in agreement.OUTPUTS.items()}
    for layer, module in modules.items():
        module.register_forward_hook(lambda _, inputs, output, layer=layer: outputs.__setitem__(layer, output))
    with torch.inference_mode(), Trace(model, [f"{site}.1" for site in sites.values()]) as trace:
        model(images(model))
    for layer, module in modules.items():
        values = agreement.values(model, layer, 1)
        assert trace[f"{sites[layer]}.1"].shape[-1] == values.shape[1]
        bias = 0 if module.bias is None else module.bias
        close(trace[f"{sites[layer]}.1"] @ values.T + bias, outputs[layer])


@pytest.mark.parametrize("family", MASKED, ids=named)
def test_attention_weights_times_values_give_the_heads(family: Family) -> None:
    model = family.build()
    with torch.inference_mode(), unfused(model), Trace(model, ["attn_in.1", "attn_weights.1", "attn_heads.1"]) as trace:
        model(images(model))
        values = families.values(model.blocks[1].attn, trace["attn_in.1"])
        heads = torch.einsum("ihqk,ikhd->iqhd", trace["attn_weights.1"], values).flatten(2)
    close(heads, trace["attn_heads.1"])


@pytest.mark.parametrize("family", MASKED, ids=named)
def test_all_tokens_give_the_models_output(family: Family) -> None:
    model = family.build()
    with torch.inference_mode():
        states = token_pruning.embed(model, images(model))
        tokens = token_pruning.keep(model, states, torch.ones(states.shape[:2], dtype=torch.bool))
        close(token_pruning.run(model, Lens.from_model(model), tokens)[1], model(images(model)))


@pytest.mark.parametrize("family", MASKED, ids=named)
def test_removed_tokens_are_not_attended_to_and_not_pooled(family: Family) -> None:
    model = family.build()
    lens, prefix = Lens.from_model(model), model.num_prefix_tokens
    with torch.inference_mode():
        states = token_pruning.embed(model, images(model, 4))
        kept = torch.rand(states.shape[:2], generator=torch.Generator().manual_seed(0)) < 0.5
        kept[:, : prefix + 1] = True
        kept[0] = True
        tokens = token_pruning.keep(model, states, kept)
        ours, output = token_pruning.run(model, lens, tokens)
        real = torch.ones_like(tokens.position, dtype=torch.bool) if tokens.real is None else tokens.real
        for image in range(4):
            theirs = alone(model, states[image : image + 1], kept[image])
            close(ours[image][real[image]], theirs[0])
            close(output[image], lens.output(theirs)[0])


def alone(model: ViT, states: Tensor, kept: Tensor) -> Tensor:
    """Last states of an image's kept tokens, in another way than `kept_tokens`: without the others, or without attention to them."""
    if not families.attends_by_position(model):
        states = states[:, kept]
        for block in model.blocks:
            states = block(states)
        return states

    def renormalised(weights: Tensor) -> Tensor:
        weights = weights * kept
        return weights / weights.sum(dim=-1, keepdim=True)

    edits = {f"attn_weights.{block}": renormalised for block in range(DEPTH)}
    with unfused(model), Trace(model, [f"resid_post.{DEPTH - 1}"], edit={**edits, "resid_pre.0": lambda _: states}) as trace:
        model(images(model, 1))
    return trace[f"resid_post.{DEPTH - 1}"][:, kept]


@pytest.mark.parametrize("family", MASKED, ids=named)
def test_tokens_at_positions_are_the_kept_ones(family: Family) -> None:
    model = family.build()
    prefix = model.num_prefix_tokens
    with torch.inference_mode():
        states = token_pruning.embed(model, images(model))
        position = torch.cat([torch.arange(prefix), torch.tensor([prefix + 1, prefix + 4])]).expand(3, -1)
        kept = torch.zeros(states.shape[:2], dtype=torch.bool).scatter(1, position, True)
        lens = Lens.from_model(model)
        at = token_pruning.run(model, lens, token_pruning.at(model, states, torch.arange(3), position))[1]
        close(at, token_pruning.run(model, lens, token_pruning.keep(model, states, kept))[1])


@pytest.mark.parametrize("protocol", [CORRECTED, PAPER], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("family", MASKED, ids=named)
def test_relevance_is_the_gradient_through_the_attention_weights(family: Family, protocol: Protocol) -> None:
    model, classes = family.build().double(), torch.tensor([3, 5])
    lens, pictures = Lens.from_model(model), images(model, 2).double()
    ours = relevance.class_relevance(model, lens, pictures, [classes], protocol).relevance[0]
    for block in range(DEPTH):
        kept = {}

        def follow(weights: Tensor, kept: dict = kept) -> Tensor:
            kept["weights"] = weights.detach().requires_grad_()
            return kept["weights"]

        read = {f"attn_out.{block}": lambda written: written}
        with torch.enable_grad(), unfused(model), Trace(model, read, edit={f"attn_weights.{block}": follow}) as trace:
            model(pictures)
            loss = relevance.class_loss(relevance.block_projection(lens, trace[f"attn_out.{block}"]), classes, protocol)
            (gradient,) = torch.autograd.grad(loss, kept["weights"])
        if not protocol.uncentred_relevance:  # relative to the average that the head attends to, for each query
            gradient = gradient - (kept["weights"] * gradient).sum(dim=-1, keepdim=True)
        of_queries = gradient.sum(dim=2) if lens.pooled else gradient[:, :, 0]
        torch.testing.assert_close(ours[:, block], -of_queries[..., lens.prefix_tokens :].detach(), atol=1e-13, rtol=1e-9)


def moved(model: ViT) -> ViT:
    """The same function of images: in every block, a constant moves from the bias of the output matrix to that of the values."""
    copy = deepcopy(model)
    for block in copy.blocks:
        constant = torch.randn(block.attn.proj.in_features, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        if block.attn.qkv.bias is None:
            block.attn.qkv.bias = torch.nn.Parameter(torch.zeros(3 * len(constant), dtype=torch.float64), requires_grad=False)
        block.attn.qkv.bias[2 * len(constant) :] += constant
        block.attn.proj.bias -= block.attn.proj.weight @ constant
    return copy


@pytest.mark.parametrize("arch", ["vit_base_patch32_224", "deit_base_distilled_patch16_224", "vit_base_patch16_rpn_224"])
def test_relevance_does_not_move_with_a_constant_that_changes_no_output(arch: str) -> None:
    (family,) = [family for family in ACCEPTED if family.arch == arch and "scale_attn_norm" not in family.kwargs]
    model, classes = family.build().double(), torch.tensor([3, 5])
    other, pictures = moved(model), images(model, 2).double()
    with torch.inference_mode():
        torch.testing.assert_close(model(pictures), other(pictures), atol=1e-12, rtol=0)
    centred, uncentred = (
        [relevance.class_relevance(one, Lens.from_model(one), pictures, [classes], protocol).relevance[0] for one in (model, other)]
        for protocol in (CORRECTED, replace(CORRECTED, uncentred_relevance=True))
    )
    largest = centred[0].abs().max()
    assert (centred[0] - centred[1]).abs().max() < 1e-12 * largest
    assert (uncentred[0] - uncentred[1]).abs().max() > 0.05 * largest
    assert torch.equal(centred[0].argsort(dim=-1), uncentred[1].argsort(dim=-1))  # all tokens of a head shift alike


def test_attention_baselines_of_a_distilled_model_look_at_both_of_its_tokens() -> None:
    (family,) = [family for family in ACCEPTED if family.name == "DeiT, distilled"]
    lens = Lens.from_model(family.build())
    attention = torch.rand(2, 6, 6)
    torch.testing.assert_close(attention_relevance.readout(attention, lens), (attention[:, 0, 2:] + attention[:, 1, 2:]) / 2)


def test_a_model_whose_attention_takes_no_known_mask_is_refused_what_needs_one() -> None:
    family = next(family for family in ACCEPTED if family not in MASKED)
    with pytest.raises(InputError, match="not defined for VisionTransformerRelPos: leave them out"):
        token_pruning.check(family.build(), family.arch)


@pytest.mark.parametrize("family", REFUSED, ids=named)
def test_refused_families_say_why(family: Family) -> None:
    assert len(reason(family)) > 20


def test_the_page_of_the_documentation_is_what_the_registry_says() -> None:
    assert (REPOSITORY / "docs" / "families.md").read_text(encoding="utf-8") == page(), "run `make families`"
