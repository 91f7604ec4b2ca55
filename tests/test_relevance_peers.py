"""Relevance maps and SaCo against the numbers of other authors' packages, which `golden/relevance_peers.py` made."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import REPOSITORY
from torch import Tensor

from classlens.analyses.attnlrp import attnlrp
from classlens.analyses.faithfulness import saco
from classlens.analyses.grad_cam import grad_cam
from classlens.analyses.integrated_gradients import integrated_gradients
from classlens.analyses.legrad import legrad
from classlens.lens import Lens
from classlens.models import token_pruning
from classlens.models.class_embedding import ClassEmbedding
from classlens.trace import ViT

PEERS = np.load(REPOSITORY / "tests" / "golden" / "relevance_peers.npz")
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 3, "mlp_ratio": 2}


def peer(name: str) -> Tensor:
    found = torch.from_numpy(PEERS[name])
    return found.double() if found.is_floating_point() else found


def weights(of: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{of}/"): peer(name) for name in PEERS.files if name.startswith(f"{of}/")}


@pytest.fixture(scope="module")
def plain() -> ViT:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=7, **SIZES).double().eval().requires_grad_(False)
    model.load_state_dict(weights("plain"))
    return model


def explained(model: ViT) -> tuple[ViT, Lens, Tensor, list[Tensor]]:
    return model, Lens.from_model(model), peer("images"), [peer("classes")]


def close(ours: Tensor, theirs: Tensor, relative: float = 1e-9) -> None:
    torch.testing.assert_close(ours, theirs, atol=relative * float(theirs.abs().max()), rtol=0)


def test_the_model_is_the_peers_model(plain: ViT) -> None:
    close(plain(peer("images")), peer("logits"))


def test_attnlrp_is_lxts(plain: ViT) -> None:
    theirs, otherwise = peer("attnlrp")[:, 1:], (peer("gradient_x_input")[:, 1:], peer("cp_lrp")[:, 1:])
    assert all((theirs - other).abs().max() > 0.1 * theirs.abs().max() for other in otherwise)
    close(attnlrp(*explained(plain))[0], theirs, relative=1e-7)  # lxt adds 1e-10 where it divides by an activation's input


def test_grad_cam_is_captums(plain: ViT) -> None:
    assert peer("grad_cam").max() > 0
    close(grad_cam(*explained(plain))[0], peer("grad_cam"))


def test_integrated_gradients_are_captums(plain: ViT) -> None:
    baseline = token_pruning.embed(plain, peer("images")).mean(dim=0)
    close(integrated_gradients(*explained(plain), baseline)[0], peer("integrated_gradients")[:, 1:])


def test_legrad_is_its_authors() -> None:
    """Their map is the sum over blocks, ours the mean."""
    tower = weights("clip")
    model: Any = timm.create_model("vit_base_patch16_clip_224", num_classes=0, **SIZES).double().eval()
    projection = torch.nn.Linear(24, 16, bias=False).double()
    projection.weight.data = tower.pop("projection")
    model.load_state_dict(tower)
    close(projection(model(peer("images"))), peer("clip_features"))
    model.head = ClassEmbedding(peer("text"), None, projection, cosine=True, temperature=1.0)
    maps = legrad(model.requires_grad_(False), Lens.from_model(model), peer("images"), [torch.arange(3)])[0]
    close(len(model.blocks) * maps, peer("legrad"))


def test_saco_is_its_authors() -> None:
    np.testing.assert_allclose(saco(PEERS["saco/salience"], PEERS["saco/drop"]), PEERS["saco/score"])
