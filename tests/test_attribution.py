"""Terms of heads and MLPs: exact sums in every accepted family, in double precision, and by token."""

import pytest
import torch
from small_families import centred, images, named

from classlens.analyses.attribution import attribution, by_token
from classlens.lens import Lens
from classlens.models.class_embedding import ClassEmbedding
from families import ACCEPTED, Family


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_terms_sum_to_the_logit(family: Family) -> None:
    model = family.build().double()
    found = attribution(model, Lens.from_model(model), images(model))
    with torch.inference_mode():
        logits = centred(model(images(model)))
    torch.testing.assert_close(found.output, logits, atol=1e-11, rtol=1e-11)
    parts = [found.logits(part) for part in (found.heads.flatten(1, 2), found.mlps)]
    assert all(part.abs().max() > 1e-3 for part in parts)


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_tokens_sum_to_the_head(family: Family) -> None:
    model = family.build().double()
    classes = torch.tensor([[0, 3, 6], [1, 1, 2]])
    terms = attribution(model, Lens.from_model(model), images(model))
    tokens = by_token(model, Lens.from_model(model), images(model), list(classes))
    expected = torch.stack([terms.logits(terms.heads)[torch.arange(3), ..., wanted] for wanted in classes])
    torch.testing.assert_close(tokens.sum(dim=-1), expected, atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("arch", ["vit_base_patch32_224", "vit_base_patch16_rpn_224", "beit_base_patch16_224"])
def test_class_embeddings(arch: str, projected: bool, cosine: bool) -> None:
    model = next(family for family in ACCEPTED if family.arch == arch).build().double()
    torch.manual_seed(2)
    projection = torch.nn.Linear(24, 5).double() if projected else None
    model.head = ClassEmbedding(torch.randn(7, 5 if projected else 24).double(), torch.randn(7).double(), projection, cosine, 0.1)
    found = attribution(model, Lens.from_model(model), images(model))
    with torch.inference_mode():
        torch.testing.assert_close(found.output, centred(model(images(model))), atol=1e-10, rtol=1e-10)


def test_a_head_without_weights_adds_nothing() -> None:
    model = ACCEPTED[0].build().double()
    model.blocks[1].attn.proj.weight[:, 12:] = 0  # of the second of two heads
    found = attribution(model, Lens.from_model(model), images(model))
    logits = found.logits(found.heads)
    assert not logits[:, 1, 1].any() and logits[:, 1, 0].any()


@pytest.mark.parametrize("family", ACCEPTED, ids=named)
def test_mixed_precision(family: Family) -> None:
    """Terms sum to the logits of a forward pass in mixed precision, up to its own error; no norm is taken for another kind."""
    model = family.build()
    seen, lens, classes = images(model).float(), Lens.from_model(model), [torch.tensor([0, 3, 6])]
    with torch.inference_mode():
        whole = centred(model(seen))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        error = (centred(model(seen)).float() - whole).abs().max()
        found, tokens = attribution(model, lens, seen), by_token(model, lens, seen, classes)
    assert found.output.dtype == torch.float32
    assert (found.output - whole).abs().max() <= 3 * error + 0.05 * whole.abs().max()
    terms = found.logits(found.heads)[torch.arange(3), ..., classes[0]]
    assert (tokens[0].sum(dim=-1) - terms).abs().max() <= 0.05 * terms.abs().max()
