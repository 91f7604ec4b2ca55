"""Reading, editing and stopping a forward pass."""

import pytest
import torch

from classlens.models.loading import build
from classlens.trace import SITES, Trace, ViT

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> ViT:
    torch.manual_seed(0)
    return build("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 3, "init_values": 0.5}, 5)


def hooks(model: ViT) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_every_site_is_what_it_says(model: ViT) -> None:
    with torch.inference_mode(), Trace(model, [f"{site}.1" for site in SITES]) as trace:
        model(IMAGES)
    block = model.blocks[1]
    with torch.inference_mode():
        attention = block.ls1(block.attn.proj(trace["attn_memory.1"]))
        middle = trace["resid_pre.1"] + attention
        hidden = block.mlp.fc1(block.norm2(middle))
        torch.testing.assert_close(trace["attn_out.1"], attention)
        torch.testing.assert_close(trace["mlp_hidden.1"], hidden)
        torch.testing.assert_close(trace["mlp_memory.1"], block.mlp.act(hidden))
        torch.testing.assert_close(trace["mlp_out.1"], block.ls2(block.mlp.fc2(trace["mlp_memory.1"])))
        torch.testing.assert_close(trace["resid_post.1"], middle + trace["mlp_out.1"])


def test_a_function_decides_what_is_kept(model: ViT) -> None:
    with torch.inference_mode(), Trace(model, {"resid_post.0": lambda states: states.mean()}) as trace:
        model(IMAGES)
    assert trace["resid_post.0"].shape == ()
    assert trace.pop("resid_post.0") is not None
    with pytest.raises(KeyError):
        trace["resid_post.0"]


def test_an_edit_changes_what_follows(model: ViT) -> None:
    with torch.inference_mode():
        plain = model(IMAGES)
        with Trace(model, ["attn_out.2"], edit={"attn_out.2": torch.zeros_like, "mlp_memory.1": lambda states: 2 * states}) as trace:
            edited = model(IMAGES)
        assert trace["attn_out.2"].abs().max() == 0
        assert not torch.allclose(plain, edited)
        torch.testing.assert_close(model(IMAGES), plain)


def test_stop_ends_the_pass_without_an_error(model: ViT) -> None:
    reached = []
    handle = model.blocks[2].register_forward_hook(lambda *_: reached.append(True))
    with torch.inference_mode(), Trace(model, ["resid_post.1"], stop="resid_post.1") as trace:
        model(IMAGES)
    handle.remove()
    assert not reached
    assert trace["resid_post.1"].shape == (2, 5, 24)


def test_hooks_are_removed_even_after_an_error(model: ViT) -> None:
    with pytest.raises(ZeroDivisionError), Trace(model, {"resid_post.0": lambda states: 1 / 0}):
        model(IMAGES)
    assert hooks(model) == 0


@pytest.mark.parametrize("name", ["resid_post", "resid_post.3", "residual.0", "attn_out.x"])
def test_unknown_names_are_refused(model: ViT, name: str) -> None:
    with pytest.raises(KeyError, match=r"SITE\.BLOCK"):
        Trace(model, [name])
