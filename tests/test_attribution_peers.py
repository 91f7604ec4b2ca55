"""Terms of heads and MLPs, and mean ablation, against the numbers of clip_text_span, which `golden/attribution_peers.py` made.

Both share out one sum by different conventions. The last state of [CLS], x, has mean m and standard deviation s over its width. The
representation is f = P (w * (x - m) / s + b), with the weight w and the bias b of the last norm and the projection P. A state y adds
R(y) = P (w * y / s) / |f| to f / |f|. R is linear. A number in R stands for the state that has it everywhere.

A head writes y, without the bias v of its values. An MLP writes y, and so does the embedding. With the mean of y over its width, ours are

    head = R(y - mean(y))
    MLP or embedding = R(y - mean(y))

and all biases are one more term. Theirs, with H heads in each of B blocks, and K = 2 B + 1 components (attention, MLPs, embedding), are

    head = R(y + W v + a / H - m / (K H)) + P b / (K H |f|)
    MLP or embedding = R(y - m / K) + P b / (K |f|)

with the head's part W of attention's output matrix, and the bias a of attention's output. Theirs minus ours is therefore

    head: R(mean(y) + W v + a / H - m / (K H)) + P b / (K H |f|)
    MLP or embedding: R(mean(y) - m / K) + P b / (K |f|)

and adds up to our term of the biases, as m is the mean of everything that is written.

Their ablation replaces all MLPs and the embedding by means over images, or all heads of the first blocks.
"""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import REPOSITORY
from torch import Tensor

from classlens.analyses import ablation
from classlens.analyses.attribution import Attribution, attribution
from classlens.lens import Lens
from classlens.models.class_embedding import ClassEmbedding
from classlens.trace import Trace, ViT

PEERS = np.load(REPOSITORY / "tests" / "golden" / "attribution_peers.npz")
HEADS, BLOCKS, WIDTH, PROJECTED = 2, 3, 24, 16
COMPONENTS = 2 * BLOCKS + 1


def peer(name: str) -> Tensor:
    return torch.from_numpy(PEERS[name]).double()


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-9 * float(theirs.abs().max()), rtol=0)


def far(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() > 0.05 * theirs.abs().max()


@pytest.fixture(scope="module")
def model() -> ViT:
    """Their tower; its classes are the dimensions of the projection, and a term's vector is its share of f / |f|."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "num_heads": HEADS, "depth": BLOCKS, "mlp_ratio": 2}
    weights = {name.removeprefix("clip/"): peer(name) for name in PEERS.files if name.startswith("clip/")}
    tower: Any = timm.create_model("vit_base_patch16_clip_224", num_classes=0, **sizes).double().eval()
    projection = torch.nn.Linear(WIDTH, PROJECTED, bias=False).double()
    projection.weight.data = weights.pop("projection")
    tower.load_state_dict(weights)
    tower.head = ClassEmbedding(torch.eye(PROJECTED).double(), None, projection, cosine=True, temperature=1.0)
    return tower.requires_grad_(False)


@pytest.fixture(scope="module")
def found(model: ViT) -> Attribution:
    return attribution(model, Lens.from_model(model), peer("images"))


@pytest.fixture(scope="module")
def differences(model: ViT) -> tuple[Tensor, Tensor]:
    """Theirs minus ours: of heads [image, block, head, 16], and of the embedding and MLPs [image, 1 + block, 16]."""
    written = ["resid_pre.0", *(f"mlp_out.{block}" for block in range(BLOCKS))]
    heads = [f"attn_heads.{block}" for block in range(BLOCKS)]
    last = f"resid_post.{BLOCKS - 1}"
    with Trace(model, [*written, *heads, last]) as trace:
        model(peer("images"))
    states = {name: trace[name][:, 0] for name in (*written, *heads, last)}
    norm, projection = model.norm, model.head.projection.weight
    deviation = (states[last].var(dim=-1, correction=0) + norm.eps).sqrt()
    length = (norm(states[last]) @ projection.T).norm(dim=-1)

    def read(state: Tensor) -> Tensor:
        return (norm.weight * state) @ projection.T / (deviation * length)[:, None, None]

    def everywhere(numbers: Tensor) -> Tensor:
        return numbers[..., None].expand(*numbers.shape, WIDTH)

    mean = states[last].mean(dim=-1)[:, None] / COMPONENTS
    bias = (norm.bias @ projection.T) / (COMPONENTS * length[:, None, None])
    mlps = read(everywhere(torch.stack([states[name].mean(dim=-1) for name in written], dim=1) - mean)) + bias
    of_blocks = []
    for name, block in zip(heads, model.blocks, strict=True):
        value_bias = block.attn.qkv.bias.chunk(3)[2].unflatten(0, (HEADS, -1))
        output = block.attn.proj.weight.unflatten(1, (HEADS, -1))
        own = torch.einsum("ohd,ihd->iho", output, states[name].unflatten(1, (HEADS, -1)) - value_bias)
        biases = torch.einsum("ohd,hd->ho", output, value_bias) + block.attn.proj.bias / HEADS
        of_blocks.append(read(everywhere(own.mean(dim=-1) - mean / HEADS) + biases) + bias / HEADS)
    return torch.stack(of_blocks, dim=1), mlps


@pytest.fixture(scope="module")
def rewritten(found: Attribution, differences: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Our terms under their convention: of heads, and of the embedding and MLPs."""
    return found.heads + differences[0], torch.cat([found.embedding[:, None], found.mlps], dim=1) + differences[1]


def test_the_model_is_the_peers_model(model: ViT, found: Attribution) -> None:
    unit = peer("features") / peer("features").norm(dim=-1, keepdim=True)
    close(model(peer("images")), unit)
    close(found.output, unit - unit.mean(dim=-1, keepdim=True))


def test_terms_are_theirs_under_their_convention(found: Attribution, rewritten: tuple[Tensor, Tensor]) -> None:
    heads, mlps = rewritten
    close(heads, peer("heads"))
    close(mlps, peer("mlps"))
    far(found.heads, peer("heads"))
    far(found.mlps, peer("mlps")[:, 1:])


def test_their_convention_shares_out_our_biases(found: Attribution, differences: tuple[Tensor, Tensor]) -> None:
    heads, mlps = differences
    close(heads.sum(dim=(1, 2)) + mlps.sum(dim=1), found.biases)


def test_mean_ablation_is_theirs_under_their_convention(found: Attribution, rewritten: tuple[Tensor, Tensor]) -> None:
    """Ours ablates a block and all later ones, theirs all earlier ones: blocks are reversed. The embedding is an MLP without heads."""
    heads, mlps = rewritten
    nothing = torch.zeros_like(found.embedding)
    reverse = torch.cat([torch.zeros_like(heads[:, :1]), heads], dim=1).flip(1), mlps.flip(1)
    terms = Attribution(nothing, *reverse, nothing, torch.eye(PROJECTED).double(), nothing[0])
    effects = list(ablation.direct(terms, ablation.Means(*(part.mean(dim=0) for part in reverse))))
    without = {(item.part, item.block): item.logits for item in effects if item.kind == "cumulative"}
    close(without["mlps", 0], peer("without_mlps"))
    close(torch.stack([without["heads", BLOCKS - 1 - block] for block in range(BLOCKS)]), peer("without_heads"))
