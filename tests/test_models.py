"""Loading, checking and refusing models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN, GOLDEN_MODELS
from safetensors.torch import load_file, save_file

from classlens import checkpoints, models
from classlens.card import Card
from classlens.errors import InputError
from classlens.hub import Architecture
from classlens.protocol import CORRECTED, PAPER
from classlens.trace import ViT

SMALL: dict[str, Any] = {"img_size": 32, "embed_dim": 48, "num_heads": 3, "depth": 2}
ARCH = "vit_tiny_patch16_224"


def load(checkpoint: Path | None, weights: str = "checkpoint", num_classes: int = 7, **options: Any) -> ViT:
    content = checkpoints.read(checkpoint) if checkpoint else None
    return models.make_model(Architecture(ARCH), weights, SMALL, num_classes, seed=0, checkpoint=content, **options)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load(None, "random").state_dict()


def same(model: ViT, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("form", ["safetensors", "pt", "state_dict.pth", "model.pth", "both.pt"])
def test_checkpoints_of_every_form(tmp_path: Path, state: dict[str, torch.Tensor], form: str) -> None:
    path = tmp_path / f"weights.{form}"
    nested = {
        "pt": state,
        "state_dict.pth": {"epoch": 3, "state_dict": state},
        "model.pth": {"model": state},
        "both.pt": {"state_dict": {"model": state}},
    }
    save_file(state, path) if form == "safetensors" else torch.save(nested[form], path)
    assert same(load(path), state)


def test_prefix_and_named_extra_keys(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()} | {"transformerheads.0.weight": torch.ones(2)}}, path)
    assert same(load(path, key_prefix="model.", ignore_keys=["transformerheads.*"]), state)
    with pytest.raises(InputError, match=r"1 left over \(transformerheads.0.weight\)"):
        load(path, key_prefix="model.")


def spoil(state: dict[str, torch.Tensor], fault: str) -> dict[str, torch.Tensor]:
    state = dict(state)
    if fault == "missing":
        del state["norm.bias"]
    elif fault == "misshapen":
        state["norm.bias"] = torch.zeros(3)
    elif fault == "classes":
        state |= {"head.weight": torch.zeros(9, 48), "head.bias": torch.zeros(9)}
    elif fault == "prefixed":
        return {f"module.{key}": value for key, value in state.items()}
    elif fault == "of a pooled model":
        return {key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: value for key, value in state.items()}
    elif fault == "not finite":
        state["norm.bias"] = torch.full((48,), torch.nan)
    return state


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 missing \(norm.bias\)"),
        ("misshapen", r"1 of another shape \(norm.bias is \[3\], not \[48\]\)"),
        ("classes", "tells 9 classes apart and `kwargs`, or else the data set, has 7: .*`classes`"),
        ("prefixed", "set the model's `key_prefix: module.`$"),
        ("of a pooled model", "set the model's `key_prefix`, `ignore_keys`, `kwargs` or `arch` to fit$"),
        ("not finite", r"norm\.bias is not finite"),
    ],
)
def test_checkpoints_that_do_not_fit(
    tmp_path: Path, state: dict[str, torch.Tensor], fault: str, message: str, note_fault: Callable[..., None]
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(spoil(state, fault), path)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    note_fault(f"parameters of a checkpoint: {fault}", str(caught.value))


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/classlens-was-harmed"),)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, state: dict[str, torch.Tensor], note_fault: Callable[..., None]) -> None:
    torch.save({"state_dict": state, "hook": Harmful()}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="Python objects beside tensors") as caught:
        load(tmp_path / "weights.pt")
    note_fault("a checkpoint holds a program", str(caught.value))
    assert not Path("/tmp/classlens-was-harmed").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_damaged_checkpoints(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(b"\x80\x02 this is no checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        load(path)


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (models.make_model(Architecture(ARCH), "random", SMALL, 7, seed=seed) for seed in (1, 1, 2))
    assert same(first, again.state_dict())
    assert not same(first, other.state_dict())


@pytest.mark.parametrize(
    ("arch", "kwargs", "message"),
    [
        ("resnet18", {}, "not a Vision Transformer"),
        ("vit_base_patch16_siglip_224", SMALL, "global_pool='map'"),
        (ARCH, {**SMALL, "num_classes": 0}, "not one linear map"),
        (ARCH, {**SMALL, "global_pool": "avg", "pool_include_prefix": True}, "pools over prefix tokens"),
        ("vit_base_patch16_224", {**SMALL, "wrong_argument": 1}, "wrong_argument"),
        ("vit_enormous_patch16", {}, "Unknown model"),
    ],
)
def test_refusals_say_why(arch: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        models.make_model(Architecture(arch), "random", kwargs, 7, seed=0)


def test_parallel_blocks_are_refused() -> None:
    from timm.models.vision_transformer import ParallelScalingBlock

    with pytest.raises(InputError, match="do not add an attention and an MLP contribution"):
        models.make_model(Architecture(ARCH), "random", {**SMALL, "block_fn": ParallelScalingBlock}, 7, seed=0)


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_kept_models_are_what_was_loaded(tmp_path: Path, name: str) -> None:
    known = GOLDEN_MODELS[name]
    path = GOLDEN / f"{name}.safetensors"
    model = models.make_model(Architecture(known["arch"]), "checkpoint", known["kwargs"], 1000, seed=0, checkpoint=checkpoints.read(path))
    models.save(model, tmp_path / "model.safetensors")
    card = models.describe(model, known["arch"], known["kwargs"], path.name, None, PAPER, tmp_path / "model.safetensors")
    card.write(tmp_path / "model.json")
    again, read = models.load_model(tmp_path)
    assert same(again, load_file(path))
    assert read.transform == card.transform
    assert (read.image_tokens, read.prefix_tokens, read.pooling) == {"cls": (49, 1, "token"), "gap": (196, 0, "mean")}[name]
    (tmp_path / "model.safetensors").write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(InputError, match=r"not the file that model\.json describes"):
        models.load_model(tmp_path)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json cannot be read"):
        Card.read(tmp_path / "model.json")


def test_transform_must_end_in_the_models_size(state: dict[str, torch.Tensor]) -> None:
    model = load(None, "random")
    own = models.transform_of(model, ARCH, None, CORRECTED)
    assert own["crop"] == [32, 32]
    wrong = {"resize": 40, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(InputError, match="does not end in the model's 32 x 32 pixels"):
        models.transform_of(model, ARCH, wrong, CORRECTED)
    assert models.transform_of(model, ARCH, {**wrong, "crop": 32}, CORRECTED)["crop"] == [32, 32]
