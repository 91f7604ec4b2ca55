"""Models of the hub, from a cache folder as the hub's client keeps it, without a network."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from published_files import cached
from safetensors.torch import save_file

from classlens.errors import InputError
from classlens.models import checkpoints, loading
from classlens.models.card import Card
from classlens.models.hub import Hub
from classlens.storage.provenance import check_sha256, sha256
from classlens.trace import ViT

ARCH = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
SMALL: dict[str, Any] = {"embed_dim": 24, "num_heads": 2, "depth": 2}
REPOSITORY = "someone/small-vit"
CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 7,
    "model_args": {"img_size": 48, "patch_size": 16, **SMALL},
    "pretrained_cfg": {
        "input_size": [3, 48, 48],
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 1.0, 1.0],
        "crop_pct": 1.0,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "fixed_input_size": True,
    },
}


def small(**kwargs: Any) -> ViT:
    torch.manual_seed(3)
    return timm.create_model("vit_tiny_patch16_224", **{**SMALL, **kwargs}).eval()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_by_the_full_name_in_timm(tmp_path: Path, name: str) -> None:
    state = small().state_dict()
    folder = cached(tmp_path, f"timm/{ARCH}")
    save_file(state, folder / name) if name.endswith("safetensors") else torch.save(state, folder / name)
    hub = Hub(tmp_path, offline=True)
    architecture = hub.architecture(ARCH)
    model = loading.make_model(architecture, "pretrained", SMALL, 1000, seed=0, checkpoint=checkpoints.read(hub.weights(architecture)))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def kept(folder: Path, known: ViT, config: dict[str, Any]) -> tuple[ViT, Card]:
    """Return a model that was loaded from a repository with these weights and this config.json, and its card, after writing both."""
    repository = cached(folder, REPOSITORY)
    (repository / "config.json").write_text(json.dumps(config))
    save_file(known.state_dict(), repository / "model.safetensors")
    hub = Hub(folder, offline=True)
    architecture = hub.architecture(f"hf-hub:{REPOSITORY}")
    model = loading.make_model(architecture, "pretrained", {}, 7, seed=0, checkpoint=checkpoints.read(hub.weights(architecture)))
    weights = folder / "model.safetensors"
    loading.save(model, weights)
    card = loading.describe(
        model, architecture.name, architecture.kwargs, "pretrained", transform=None, protocol=loading.Protocol(), weights=weights
    )
    card.write(folder / "model.json")
    return model, card


def test_a_repository_by_its_own_name(tmp_path: Path) -> None:
    known = small(num_classes=7, img_size=48)
    model, card = kept(tmp_path, known, CONFIG)
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(model(images), known(images))
    assert card.transform["mean"] == [0.1, 0.2, 0.3]
    again, _ = loading.load_model(tmp_path)  # no hub is asked any more
    torch.testing.assert_close(again(images), known(images))


def test_a_revision_is_the_one_that_is_named(tmp_path: Path) -> None:
    folder = cached(tmp_path, REPOSITORY, revision="v2")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    hub = Hub(tmp_path, offline=True)
    assert hub.architecture(f"hf-hub:{REPOSITORY}@v2").kwargs["num_classes"] == 7
    with pytest.raises(InputError, match=r"config.json of someone/small-vit is not in the hub's cache"):
        hub.architecture(f"hf-hub:{REPOSITORY}")


@pytest.mark.parametrize("offline", [True, False])
def test_what_cannot_be_had_is_named_with_what_to_do(tmp_path: Path, offline: bool) -> None:
    hub = Hub(tmp_path, offline)
    with pytest.raises(InputError, match=rf"model.safetensors of timm/{ARCH} is not in the hub's cache {tmp_path}.*run `hf download"):
        hub.weights(hub.architecture(ARCH))
    with pytest.raises(InputError, match="has no pretrained weights"):
        hub.weights(hub.architecture("vit_tiny_patch16_22"))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_file({"head.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    content = checkpoints.read(tmp_path / "model.safetensors")
    with pytest.raises(
        InputError, match=r"does not fit the model: \d+ missing \(blocks.0.attn.proj.bias, .*1 of another shape \(head.weight"
    ):
        loading.make_model(Hub().architecture(ARCH), "pretrained", SMALL, 1000, seed=0, checkpoint=content)


def test_a_pinned_hash_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"head.weight": torch.zeros(3, 3)}, path)
    check_sha256(path, sha256(path).upper())
    with pytest.raises(InputError, match=r"model.safetensors has the sha256 .*, but the config pins 00"):
        check_sha256(path, "0" * 64)


def test_what_a_repository_says_of_its_input_is_kept(tmp_path: Path) -> None:
    """An older config.json has the image size beside the weights' description only, and a model without it would have another grid."""
    known = small(num_classes=7, img_size=48)
    kept(tmp_path, known, {**CONFIG, "model_args": SMALL})
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(loading.load_model(tmp_path)[0](images), known(images))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": "vit", "id2label": {"0": "cat"}}, "it is a model of Hugging Face transformers: give timm's version"),
        ({**CONFIG, "model_args": {"checkpoint_path": "/etc/passwd"}}, "`model_args`: `checkpoint_path` is not allowed"),
        ({**CONFIG, "model_args": []}, "does not describe a timm model"),
        ({"architecture": 3, "pretrained_cfg": {"fixed_input_size": True}}, "does not describe a timm model"),
        ([1, 2], "does not describe a timm model"),
        ("[" * 5000, "does not describe a timm model"),
    ],
)
def test_repositories_that_describe_no_model_of_timm(tmp_path: Path, content: Any, message: str) -> None:
    folder = cached(tmp_path, REPOSITORY)
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        Hub(tmp_path, offline=True).architecture(f"hf-hub:{REPOSITORY}")
    assert len(str(caught.value).splitlines()) == 1


def test_weights_that_timm_does_not_know_of_a_model_that_it_does() -> None:
    hub = Hub(offline=True)
    with pytest.raises(InputError, match="has no pretrained weights"):
        hub.weights(hub.architecture("vit_tiny_patch16_224.of_mine"))
