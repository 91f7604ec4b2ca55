"""Every parameter of pretrained weights is loaded, fitted and said to be, or refused."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from classlens.errors import InputError
from classlens.models import loading
from classlens.models.checkpoints import Checkpoint
from classlens.models.hub import Architecture
from classlens.trace import ViT
from families import ACCEPTED, SMALL, Family

ARCH = "vit_tiny_patch16_224"
TINY: dict[str, Any] = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 2}
CLIP = "vit_base_patch32_clip_224"


def load(model: ViT, kwargs: dict[str, Any], arch: str = ARCH, classes: int = 4, **options: Any) -> ViT:
    """A model with the weights of another, as a hub repository has them that describes the other."""
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    size = list(model.patch_embed.img_size)
    classifier = ["head", "head_dist"] if hasattr(model, "head_dist") else "head"
    cfg = {"num_classes": model.num_classes, "input_size": (3, *size), "first_conv": "patch_embed.proj", "classifier": classifier}
    architecture = Architecture(arch, {"num_classes": model.num_classes, "img_size": size}, {**cfg, "source": ""}, "someone/vit", cfg)
    checkpoint = Checkpoint(Path("model.safetensors"), weights)
    return loading.make_model(architecture, "pretrained", kwargs, classes, seed=5, checkpoint=checkpoint, **options)


def small(**kwargs: Any) -> ViT:
    torch.manual_seed(1)
    model = loading.build(ARCH, {**TINY, **kwargs}, 4)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("family", ACCEPTED, ids=lambda family: family.name)
def test_all_weights_of_a_family_are_loaded(family: Family) -> None:
    model = family.build()
    loaded = load(model, {**SMALL, **family.kwargs}, family.arch, 7)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    images = torch.randn(2, 3, *model.patch_embed.img_size)
    torch.testing.assert_close(loaded(images), model(images))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_classes": 2}, r"has 4 classes, but `kwargs` or else the data set has 2"),
        ({"num_classes": 0}, "its head is not one linear map"),
        ({"in_chans": 1}, r"patch_embed.proj.weight is \[24, 3, 16, 16\], not \[24, 1, 16, 16\]"),
        ({"global_pool": "avg"}, r"2 missing \(fc_norm.bias, fc_norm.weight\); 2 left over \(norm.bias, norm.weight\)"),
        ({"global_pool": "map"}, r"\d+ missing \(attn_pool"),
        ({"class_token": False, "global_pool": "avg", "fc_norm": False}, "cls_token|timm cannot convert"),
        ({"reg_tokens": 3}, "reg_token|timm cannot convert"),
        ({"no_embed_class": True}, "pos_embed|timm cannot convert"),
        ({"init_values": 0.1}, r"4 missing \(blocks.0.ls1.gamma, "),
        ({"qk_norm": True}, r"missing \(blocks.0.attn.k_norm"),
        ({"depth": 3}, r"missing \(blocks.2"),
        ({"depth": 1}, r"left over \(blocks.1"),
        ({"embed_dim": 48}, "of another shape"),
        ({"mlp_ratio": 2}, "of another shape"),
    ],
)
def test_what_does_not_fit_is_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(small(), {**TINY, **kwargs})
    assert len(str(caught.value).splitlines()) == 1


def test_positions_and_patches_of_another_size_are_fitted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    with caplog.at_level(logging.INFO, "classlens"):
        larger = load(model, {**TINY, "img_size": 64})
    assert "timm converts pos_embed from shape [1, 5, 24] to the model's [1, 17, 24]" in caplog.text
    expected = timm.layers.resample_abs_pos_embed(model.pos_embed, new_size=[4, 4], num_prefix_tokens=1)
    torch.testing.assert_close(larger.pos_embed, expected)
    with caplog.at_level(logging.INFO, "classlens"):
        load(model, {**TINY, "patch_size": 8})
    assert "timm converts patch_embed.proj.weight from shape [24, 3, 16, 16] to the model's [24, 3, 8, 8]" in caplog.text


def test_positions_of_a_grid_that_is_not_square_keep_their_places() -> None:
    """The grid is that of the weights' own image size: 2 x 8 positions, which have as many tokens as 4 x 4."""
    wide = small(img_size=[32, 128])
    same = load(wide, {**TINY, "img_size": [32, 128]})
    assert torch.equal(same.pos_embed, wide.pos_embed)
    larger = load(wide, {**TINY, "img_size": [64, 256]})
    expected = timm.layers.resample_abs_pos_embed(wide.pos_embed, new_size=[4, 16], old_size=[2, 8], num_prefix_tokens=1)
    torch.testing.assert_close(larger.pos_embed, expected)


def test_ignored_keys_and_a_class_of_background(caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    weights = {**model.state_dict(), "attn_pool.latent": torch.ones(1, 1, 24)}
    weights |= {"head.weight": torch.cat([torch.ones(1, 24), model.head.weight]), "head.bias": torch.cat([torch.ones(1), model.head.bias])}
    cfg = {"num_classes": 4, "label_offset": 1, "classifier": "head", "input_size": (3, 32, 32), "source": ""}
    architecture, checkpoint = Architecture(ARCH, {}, cfg), Checkpoint(Path("m"), weights)
    with pytest.raises(InputError, match=r"1 left over \(attn_pool.latent\)"):
        loading.make_model(architecture, "pretrained", TINY, 4, 0, checkpoint=checkpoint)
    with caplog.at_level(logging.INFO, "classlens"):
        loaded = loading.make_model(architecture, "pretrained", TINY, 4, 0, checkpoint=checkpoint, ignore_keys=["attn_pool.*"])
    assert "removed the first 1 rows of head.weight, which are not classes of the model" in caplog.text
    assert torch.equal(loaded.head.weight, model.head.weight)


def test_weights_without_a_grid_are_taken_to_be_square_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    cfg = {"num_classes": 4, "classifier": "head", "input_size": (3, 224, 224), "source": ""}
    loading.make_model(
        Architecture(ARCH, {}, cfg),
        "pretrained",
        {**TINY, "img_size": 64},
        4,
        0,
        checkpoint=Checkpoint(Path("m"), dict(model.state_dict())),
    )
    assert "a square grid is assumed" in caplog.text


def clip(name: str, kwargs: dict[str, Any], weights: str = "pretrained", of: str = CLIP) -> ViT:
    known = timm.get_pretrained_cfg(name).to_dict()
    torch.manual_seed(0)
    state = loading.build(of, {**TINY, "patch_size": 16}, known["num_classes"]).state_dict()
    architecture = Architecture(name, repository=known["hf_hub_id"], facts=known)
    options = {**TINY, "patch_size": 16, "img_size": 32, **kwargs}
    return loading.make_model(architecture, weights, options, known["num_classes"], 0, checkpoint=Checkpoint(Path("m"), state))


def test_weights_that_were_trained_with_quickgelu_need_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        InputError, match=r"trained with QuickGELU.*`arch: vit_base_patch32_clip_quickgelu_224.openai`, or `kwargs: {act_layer"
    ):
        clip(f"{CLIP}.openai", {})
    for arch, kwargs in (("vit_base_patch32_clip_quickgelu_224.openai", {}), (f"{CLIP}.openai", {"act_layer": "quick_gelu"})):
        assert type(clip(arch, kwargs).blocks[0].mlp.act).__name__ == "QuickGELU"
    assert type(clip(f"{CLIP}.laion2b", {}).blocks[0].mlp.act).__name__ == "GELU"
    assert "QuickGELU" not in caplog.text
    clip(f"{CLIP}.openai", {}, "checkpoint")
    assert "a checkpoint that was trained from these weights needs `arch: vit_base_patch32_clip_quickgelu_224.openai`" in caplog.text


def test_timm_loads_weights_as_it_did() -> None:
    """Outside of `pretrained.loading`, timm's own loader is in its place."""
    from timm.models import _builder

    load(small(), TINY)
    with pytest.raises(InputError):
        load(small(), {**TINY, "depth": 3})
    assert _builder.load_pretrained.__module__ == "timm.models._builder"
