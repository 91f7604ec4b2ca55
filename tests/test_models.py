"""Loading, checking and refusing models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GOLDEN, GOLDEN_MODELS
from safetensors.torch import load_file, save_file

from classlens.errors import InputError
from classlens.models import checkpoints, loading
from classlens.models.card import Card
from classlens.models.hub import Architecture
from classlens.protocol import CORRECTED, PAPER
from classlens.storage.provenance import sha256
from classlens.trace import ViT

SMALL: dict[str, Any] = {"img_size": 32, "embed_dim": 48, "num_heads": 3, "depth": 2}
ARCH = "vit_tiny_patch16_224"


def load(checkpoint: Path | None, weights: str = "checkpoint", num_classes: int = 7, **options: Any) -> ViT:
    content = checkpoints.read(checkpoint) if checkpoint else None
    return loading.make_model(Architecture(ARCH), weights, SMALL, num_classes, seed=0, checkpoint=content, **options)


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
        ("classes", "has 9 classes, but `kwargs` or else the data set has 7: .*`classes`"),
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
    first, again, other = (loading.make_model(Architecture(ARCH), "random", SMALL, 7, seed=seed) for seed in (1, 1, 2))
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
        ("vit_tiny_patch16_224.of_mine", SMALL, "Invalid pretrained tag"),
        (ARCH, {**SMALL, "in_chans": 1}, "takes images with 1 channels, but classlens reads images with three"),
        (ARCH, {**SMALL, "in_chans": 4}, "takes images with 4 channels"),
        (ARCH, {**SMALL, "img_size": 70}, "4 x 4 patches cover only 64 x 64 pixels of an image of 70 x 70: set `img_size`"),
        (ARCH, {**SMALL, "img_size": 70, "dynamic_img_pad": True}, "4 x 4 patches cover only 64 x 64 pixels of an image of 70 x 70"),
        (ARCH, {**SMALL, "img_size": [32, 40]}, "2 x 2 patches cover only 32 x 32 pixels of an image of 32 x 40"),
        (ARCH, {**SMALL, "img_size": 8}, "cannot be built|patches cover only 0 x 0|fails on an image"),
        (ARCH, {**SMALL, "img_size": "large"}, "cannot be built|fails on an image"),
        (ARCH, {**SMALL, "num_heads": 0}, "cannot be built .ZeroDivisionError"),
        (ARCH, {**SMALL, "num_heads": 5}, "cannot be built .AssertionError"),
        (ARCH, {**SMALL, "num_heads": -3}, "cannot be built|fails on an image"),
        (ARCH, {**SMALL, "depth": 0}, "it has no blocks"),
        (ARCH, {**SMALL, "depth": -1}, "it has no blocks|cannot be built"),
        (ARCH, {**SMALL, "depth": "two"}, "cannot be built"),
        (ARCH, {**SMALL, "embed_dim": 50}, "cannot be built"),
        (ARCH, {**SMALL, "embed_dim": 0}, "cannot be built|is refused"),
        (ARCH, {**SMALL, "patch_size": 0}, "cannot be built .ZeroDivisionError"),
        (ARCH, {**SMALL, "patch_size": [8, 8, 8]}, "cannot be built|is refused"),
        (ARCH, {**SMALL, "act_layer": "no_such_layer"}, "cannot be built"),
        (ARCH, {**SMALL, "norm_layer": "no_such_layer"}, "cannot be built"),
        (ARCH, {**SMALL, "weight_init": "magic"}, "cannot be built"),
        (ARCH, {**SMALL, "block_fn": "Block"}, "cannot be built"),
        (ARCH, {**SMALL, "checkpoint_path": "weights.pt"}, "`checkpoint_path` is not allowed .set the weights with"),
        (ARCH, {**SMALL, "pretrained_cfg": {"file": "weights.pt"}}, "`pretrained_cfg` is not allowed"),
        (ARCH, {**SMALL, "features_only": True}, "`features_only` is not allowed"),
        (ARCH, {**SMALL, "device": "meta"}, "`device` is not allowed"),
    ],
)
def test_refusals_say_why(arch: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        loading.make_model(Architecture(arch), "random", kwargs, 7, seed=0)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_of_one_block_has_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has only one block: use a model with at least two"):
        loading.describe(
            loading.build(ARCH, {**SMALL, "depth": 1}, 3),
            ARCH,
            {},
            "random",
            transform=None,
            protocol=CORRECTED,
            weights=tmp_path / "model.safetensors",
        )


def test_a_head_of_zeros_is_accepted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = loading.make_model(Architecture(ARCH), "random", {**SMALL, "weight_init": "jax"}, 7, seed=0)
    assert not model.head.weight.any()
    loading.save(model, tmp_path / "model.safetensors")
    loading.describe(model, ARCH, SMALL, "random", transform=None, protocol=CORRECTED, weights=tmp_path / "model.safetensors")
    assert "all classes have the same logit, so ranks mean nothing" in caplog.text


FOREIGN_NAMES = {
    "vit.encoder.layer.0.attention.attention.query.weight": "Hugging Face transformers",
    "vision_model.encoder.layers.0.self_attn.q_proj.weight": "Hugging Face transformers",
    "layer.0.attention.q_proj.weight": "Hugging Face transformers",
    "encoder.layers.encoder_layer_0.ln_1.weight": "torchvision",
    "visual.transformer.resblocks.0.attn.in_proj_weight": "OpenAI's CLIP or OpenCLIP",
}


@pytest.mark.parametrize("key", FOREIGN_NAMES)
def test_names_of_other_libraries_are_known(tmp_path: Path, key: str, note_fault: Callable[..., None]) -> None:
    save_file({key: torch.zeros(2, 2), "classifier.weight": torch.zeros(7, 2)}, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=f"these are the names of {FOREIGN_NAMES[key]}: give timm's version of the model") as caught:
        load(tmp_path / "m.safetensors")
    note_fault(f"a checkpoint of {FOREIGN_NAMES[key]}", str(caught.value))


def test_the_foreign_names_are_not_timms(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="set the model's `key_prefix`, `ignore_keys`"):
        checkpoints.load(load(None, "random"), {key: value for key, value in state.items() if key != "norm.bias"}, "m")


STORED = {
    "integers": (lambda value: value.to(torch.int32), "norm.bias is int32, not float32"),
    "truth values": (lambda value: value > 0, "norm.bias is bool, not float32"),
    "complex numbers": (lambda value: value.to(torch.complex64), "norm.bias is complex64, not float32"),
    "eight bits": (lambda value: value.to(torch.float8_e4m3fn), "norm.bias is float8_e4m3fn, not float32"),
    "quantised": (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "norm.bias is quantised qint8, not float32"),
    "sparse": (lambda value: value.to_sparse(), "norm.bias is sparse, not float32"),
    "without values": (lambda value: value.to("meta"), "norm.bias is without values, not float32"),
    "infinite": (lambda value: value + torch.inf, "norm.bias is not finite"),
    "too large for the model": (lambda value: value.double() + 1e300, "norm.bias is not finite"),
}


@pytest.mark.parametrize("kind", STORED)
def test_values_that_are_no_plain_numbers_are_refused(tmp_path: Path, state: dict[str, torch.Tensor], kind: str) -> None:
    change, message = STORED[kind]
    torch.save({**state, "norm.bias": change(state["norm.bias"])}, tmp_path / "m.pt")
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / "m.pt")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_loaded(tmp_path: Path, state: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    save_file({key: value.to(dtype) for key, value in state.items()}, tmp_path / "m.safetensors")
    assert same(load(tmp_path / "m.safetensors"), {key: value.to(dtype).float() for key, value in state.items()})


def test_a_prefix_that_makes_two_parameters_one(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({**state, **{f"model.{key}": value + 1 for key, value in state.items()}}, tmp_path / "m.pt")
    with pytest.raises(InputError, match=r"has both cls_token and model.cls_token, which are the same name without `key_prefix`"):
        load(tmp_path / "m.pt", key_prefix="model.")


def test_prefixes_of_compiled_and_parallel_models_with_more_beside_them(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    """As torchvision keeps averaged weights: with a counter and the prefixes of both wrappers."""
    wrapped = {f"module._orig_mod.{key}": value for key, value in state.items()}
    torch.save({"model_ema": {"n_averaged": torch.tensor(3), **wrapped}, "model": state}, tmp_path / "m.pt")
    with pytest.raises(InputError, match=r"set the model's `key_prefix: module._orig_mod.` and `ignore_keys`"):
        load(tmp_path / "m.pt")
    assert same(load(tmp_path / "m.pt", key_prefix="module._orig_mod.", ignore_keys=["n_averaged"]), state)


def test_other_weights_in_the_file_are_told(tmp_path: Path, state: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"state_dict": state, "average_of_mine": state}, tmp_path / "m.pt")
    load(tmp_path / "m.pt")
    assert "using the parameters under `state_dict`, as timm does; the file also holds `average_of_mine`" in caplog.text


def test_loading_what_is_no_model_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*model.json: correct the path, or run the workflow"):
        loading.load_model(tmp_path)
    facts = {"classes": 5, "depth": 1, "width": 1, "heads": 1, "grid": (7, 7), "prefix_tokens": 0, "cls_token": False, "pooling": "mean"}
    model = loading.build("resnet18", {}, 5)
    loading.save(model, tmp_path / "model.safetensors")
    Card("resnet18", {}, **facts, transform={}, source="x", sha256=sha256(tmp_path / "model.safetensors")).write(tmp_path / "model.json")
    with pytest.raises(InputError, match="model resnet18 is refused: it is not a Vision Transformer"):
        loading.load_model(tmp_path)


def test_parallel_blocks_are_refused() -> None:
    from timm.models.vision_transformer import ParallelScalingBlock

    with pytest.raises(InputError, match="do not add an attention and an MLP contribution"):
        loading.make_model(Architecture(ARCH), "random", {**SMALL, "block_fn": ParallelScalingBlock}, 7, seed=0)


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_kept_models_are_what_was_loaded(tmp_path: Path, name: str) -> None:
    known = GOLDEN_MODELS[name]
    path = GOLDEN / f"{name}.safetensors"
    model = loading.make_model(Architecture(known["arch"]), "checkpoint", known["kwargs"], 1000, seed=0, checkpoint=checkpoints.read(path))
    loading.save(model, tmp_path / "model.safetensors")
    card = loading.describe(
        model, known["arch"], known["kwargs"], path.name, transform=None, protocol=PAPER, weights=tmp_path / "model.safetensors"
    )
    card.write(tmp_path / "model.json")
    again, read = loading.load_model(tmp_path)
    assert same(again, load_file(path))
    assert read.transform == card.transform
    assert (read.image_tokens, read.prefix_tokens, read.pooling) == {"cls": (49, 1, "token"), "gap": (196, 0, "mean")}[name]
    (tmp_path / "model.safetensors").write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(InputError, match=r"not the file that model\.json describes"):
        loading.load_model(tmp_path)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json cannot be read"):
        Card.read(tmp_path / "model.json")


def test_transform_must_end_in_the_models_size(state: dict[str, torch.Tensor]) -> None:
    model = load(None, "random")
    own = loading.transform_of(model, ARCH, None, CORRECTED)
    assert own["crop"] == [32, 32]
    wrong = {"resize": 40, "crop": None, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(InputError, match="does not give the model's 32 x 32 pixels"):
        loading.transform_of(model, ARCH, wrong, CORRECTED)
    assert loading.transform_of(model, ARCH, {**wrong, "crop": 32}, CORRECTED)["crop"] == [32, 32]
