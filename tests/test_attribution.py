"""Terms of heads and MLPs: exact sums in every accepted family, in double precision, and by token."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_families import centred, images, named

from classlens.analyses import attribution_table, attribution_tokens
from classlens.analyses.attribution import attribution, by_token
from classlens.lens import Lens
from classlens.models.card import Card
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


def test_rows_by_token() -> None:
    """Rows of two classes: the true one's terms are those of the table of attribution, and the tokens of a head add up to its term."""
    model = ACCEPTED[0].build()
    lens, seen, classes = Lens.from_model(model), images(model).float(), torch.tensor([[0, 3], [1, 0], [6, 2]])
    logits, tokens = attribution_tokens.terms(model, lens, seen, classes)
    card = Card("vit", {}, 7, len(model.blocks), 24, 2, (1, tokens.shape[-1] - 1), 1, True, "token", {}, "random", "0")
    found = attribution_tokens.rows([4, 5, 9], classes.numpy(), logits, tokens, card)
    table = pa.Table.from_batches([found])
    assert table["image_id"].unique().to_pylist() == [4, 5, 9]
    assert table["class_index"].to_numpy()[:: logits.shape[2]].tolist() == classes.flatten().tolist()
    own = attribution_table.own_logits(attribution(model, lens, seen), classes[:, 0]).numpy()
    np.testing.assert_array_equal(table["logit"].to_numpy().reshape(logits.shape)[:, 0], own)
    for row in table.to_pylist():
        assert (row["tokens"] is None) == (row["component"] != "head")
        assert row["tokens"] is None or sum(row["tokens"]) == pytest.approx(row["logit"], abs=1e-5)


def test_the_rival_is_the_other_class_with_the_largest_output() -> None:
    assert attribution_tokens.own_and_rival({"class_index": 3, "top": [3, 5, 1]}) == (3, 5)
    assert attribution_tokens.own_and_rival({"class_index": 3, "top": [5, 3, 1]}) == (3, 5)
    assert attribution_tokens.own_and_rival({"class_index": 3, "top": [3]}) == (3, 3)


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
