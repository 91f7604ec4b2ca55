"""Checkpoints of other libraries give the logits that their own model classes give."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers as hf
from conftest import Run, planned, small_config
from PIL import Image
from published_files import cached

from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.data import transforms
from classlens.data.shapes_layout import class_names
from classlens.errors import InputError
from classlens.models import checkpoints, loading, transformers_config
from classlens.models.hub import Hub
from classlens.models.new_model import ModelDescription, Source
from classlens.trace import ViT
from formats import CLASSES, FORMATS, SMALL, TINY, VIT, Format, disturbed, logits

hf.logging.set_verbosity_error()

BY_NAME = {one.name: one for one in FORMATS}


def loaded(one: Format, path: Path, **kwargs: Any) -> ViT:
    """The timm model of a format's files. Backbones keep the identity in place of their head."""
    if one.arch is None:
        found = transformers_config.read(path)
        arch, kwargs, path = found.arch, {**found.kwargs, **kwargs}, transformers_config.weights_file(path)
    else:
        arch, kwargs = one.arch, {**TINY, **one.kwargs, **kwargs}
    return loading.build(arch, kwargs, None, weights=loading.pretrained.loading(checkpoints.read(path), [], {}))


@pytest.mark.parametrize("name", BY_NAME)
@torch.inference_mode()
def test_a_format_gives_the_outputs_of_its_own_class(tmp_path: Path, name: str) -> None:
    path, reference = BY_NAME[name].make(tmp_path)
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(loaded(BY_NAME[name], path)(images), reference(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "timm, training checkpoint",
        "Google, `.npz` (ViT, AugReg)",
        "DINOv2 with registers",
        "BEiT",
        "OpenCLIP",
        "torchvision",
        "transformers, ViT",
        "transformers, DeiT",
        "transformers, BEiT",
        "transformers, DINOv2 with registers",
    ],
)
def test_positions_follow_another_image_size(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = BY_NAME[name].make(tmp_path)
    with caplog.at_level("INFO"):
        model = loaded(BY_NAME[name], path, img_size=48)
    assert model.patch_embed.grid_size == (6, 6)
    assert "converted pos_embed" in caplog.text or "relative_position_bias_table" in caplog.text


@pytest.mark.parametrize("name", ["transformers, DINOv2", "transformers, DINOv2 with registers", "transformers, DINOv3"])
@torch.inference_mode()
def test_an_image_processor_sets_the_size_of_dinos(tmp_path: Path, name: str) -> None:
    path, reference = BY_NAME[name].make(tmp_path)
    PROCESSORS["DINOv2"].save_pretrained(tmp_path)
    content = json.loads((path / "preprocessor_config.json").read_text())
    (path / "preprocessor_config.json").write_text(json.dumps({**content, "crop_size": {"height": 24, "width": 24}}))
    images = torch.randn(3, 3, 24, 24)
    torch.testing.assert_close(loaded(BY_NAME[name], path)(images), reference(images), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_googles_files_give_what_timms_own_loader_gives(tmp_path: Path) -> None:
    path, _ = BY_NAME["Google, `.npz` (ViT, AugReg)"].make(tmp_path)
    theirs = timm.create_model(VIT, **TINY, num_classes=CLASSES).eval()
    theirs.load_pretrained(str(path))
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(loaded(BY_NAME["Google, `.npz` (ViT, AugReg)"], path)(images), theirs(images))


PROCESSORS = {
    "ViT": hf.ViTImageProcessor(size={"height": 32, "width": 32}),
    "BEiT": hf.BeitImageProcessor(size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}, do_center_crop=True),
    "CLIP": hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    "DINOv2": hf.BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, resample=3),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_are_prepared_as_the_folders_image_processor_does(tmp_path: Path, name: str) -> None:
    PROCESSORS[name].save_pretrained(tmp_path)
    BY_NAME["transformers, ViT"].make(tmp_path)
    found = transformers_config.read(tmp_path).transform
    assert found
    image = Image.effect_mandelbrot((90, 60), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    theirs = torch.as_tensor(PROCESSORS[name](image, return_tensors="pt")["pixel_values"][0])
    ours = transforms.Transform(transforms.completed({"keep_ratio": False, **found}))(image)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().mean() < 0.02  # the processor may resize with torchvision, which rounds otherwise than Pillow


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": "resnet"}, "is a model of type resnet: supported types are vit, deit"),
        ({"model_type": "dinov3_vit", "key_bias": True}, "only some of its matrices have a bias"),
        ({"model_type": "dinov3_vit", "rope_theta": 10000.0}, "rotary positions have the base 10000.0"),
        ({"model_type": "clip", "architectures": ["CLIPForImageClassification"]}, "mean of the image tokens before the last norm"),
        ({"model_type": "vit", "num_channels": 1}, "1 channels"),
        ({"model_type": "vit", "hidden_act": "mish"}, "its activation 'mish'"),
        ({"model_type": "vit", "hidden_size": "many"}, "is damaged"),
        ({"architecture": "vit_base_patch16_224"}, "does not describe a model of transformers"),
    ],
)
def test_what_has_no_counterpart_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        transformers_config.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_resize": False}, "does not resize"),
        ({"rescale_factor": 1 / 127.5}, "another range"),
        ({"resample": 9}, "resampling 9"),
        ({"size": {"longest_edge": 32}}, "neither a height and width"),
        ({"size": None}, "neither a height and width"),
        ({"image_mean": None}, "is damaged"),
    ],
)
def test_transforms_that_cannot_be_expressed_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", **SMALL}), encoding="utf-8")
    known = {"size": 32, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**known, **change}), encoding="utf-8")
    with pytest.raises(InputError, match=f"{message}.*give the model a `transform`"):
        transformers_config.read(tmp_path)


def test_weights_in_several_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no model.safetensors or pytorch_model.bin"):
        transformers_config.weights_file(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="spread over several files"):
        transformers_config.weights_file(tmp_path)


# A folder in a config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of transformers whose classes are those of the generated images in another order."""
    path = tmp_path_factory.mktemp("a model of transformers")
    labels = dict(enumerate(reversed(class_names(CLASSES))))
    config = hf.ViTConfig(**SMALL, num_labels=CLASSES, id2label=labels, label2id={name: row for row, name in labels.items()})
    disturbed(hf.ViTForImageClassification(config)).save_pretrained(path)
    PROCESSORS["ViT"].save_pretrained(path)
    return path


def config_of(folder: Path, **model: Any) -> dict[str, Any]:
    return small_config(models={"m": {"weights": str(folder), **model}})


def test_a_plan_takes_architecture_and_transform_from_the_folder(folder: Path) -> None:
    plan = Plan(resolve(config_of(folder, kwargs={"img_size": 48}, transform={"resize": [48, 48]})), "results/x")
    step = plan.model_step("m")
    assert (step.arch, step.weights) == ("vit_base_patch16_224", "checkpoint")
    assert (step.kwargs["img_size"], step.kwargs["embed_dim"], step.kwargs["norm_eps"]) == (48, 32, 1e-12)
    assert step.transform and step.transform.resize == [48, 48]
    assert plan.twins_step("m").kwargs == step.kwargs
    assert plan.files_of_model("m")["checkpoint"] == str(folder / "model.safetensors")
    transform = Plan(resolve(config_of(folder)), "results/x").model_step("m").transform
    assert transform and (transform.resize, transform.mean) == ([32, 32], [0.5] * 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"arch": "vit_base_patch16_224"}, "`models.m.arch`: the folder .* describes the architecture: remove `arch`"),
        (
            {"weights": "{folder}/model.safetensors"},
            "{folder} describes the model: set `weights` to this folder",
        ),
        ({"weights": "pretrained"}, "`models.m.arch` is missing"),
        ({"weights": "{folder}/nothing"}, "there is no file"),
    ],
)
def test_folder_and_arch_exclude_each_other(folder: Path, model: dict[str, str], message: str) -> None:
    config = config_of(folder, **{key: value.format(folder=folder) for key, value in model.items()})
    with pytest.raises(InputError, match=message.replace("{folder}", str(folder))):
        Plan(resolve(config), "results/x")


def test_a_file_of_a_folder_is_not_read_without_the_folders_transform(folder: Path) -> None:
    wanted = {"arch": "vit_base_patch16_224", "weights": "checkpoint", "num_classes": 3, "protocol": "corrected", "kwargs": {}}
    files: dict[str, Path | None] = {"checkpoint": folder / "model.safetensors"}
    with pytest.raises(InputError, match=f"{folder} describes the model: set `weights` to this folder and remove `arch`"):
        Source.of(ModelDescription.of(wanted, files), Hub())


def test_a_folder_without_image_processor_needs_a_transform(tmp_path: Path) -> None:
    BY_NAME["transformers, ViT"].make(tmp_path)
    with pytest.raises(InputError, match=r"has no preprocessor_config.json: give the model a `transform`"):
        Plan(resolve(config_of(tmp_path)), "results/x")


@pytest.mark.parametrize("name", ["transformers, DINOv2", "transformers, CLIP", "transformers, SigLIP"])
def test_a_folder_without_a_classifier_needs_a_class_embedding(tmp_path: Path, name: str) -> None:
    path, _ = BY_NAME[name].make(tmp_path)
    PROCESSORS["ViT"].save_pretrained(path)
    with pytest.raises(
        InputError, match=r"`models.m.class_embedding` is missing: .* has no classifier; set it, for example to \{fit: linear"
    ):
        Plan(resolve(config_of(path)), "results/x")
    assert Plan(resolve(config_of(path, class_embedding={"fit": "linear"})), "results/x").models["m"].settings.arch


def test_a_run_on_a_folder(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    config = run.configure(config_of(folder))
    run.complete("results/small/predictions/m/d/validation.parquet", "--configfile", config)
    model, card = loading.load_model(tmp_path / "results/small/models/m")
    assert (card.arch, card.labels) == (
        "vit_base_patch16_224",
        "put in the data set's order, by `label2id` of config.json beside the checkpoint",
    )
    theirs = hf.ViTForImageClassification.from_pretrained(folder).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), logits(theirs, images).flip(1), atol=1e-4, rtol=1e-4)
    content = json.loads((folder / "config.json").read_text())
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    (changed / "config.json").write_text(json.dumps({**content, "layer_norm_eps": 1e-6}))
    assert "model" in planned(run, "--configfile", str(run.configure(config_of(changed), "changed.yaml")))
    (changed / "config.json").write_text(json.dumps(content))
    assert "model" not in planned(run, "--configfile", str(run.configure(config_of(changed), "changed.yaml")))


def test_a_repository_of_transformers_on_the_hub(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, cached(tmp_path, "someone/vit"), dirs_exist_ok=True)
    hub = Hub(tmp_path, offline=True)
    found = hub.architecture("hf-hub:someone/vit")
    assert (found.name, found.kwargs["depth"], found.transform and found.transform["resize"]) == ("vit_base_patch16_224", 2, [32, 32])
    checkpoint = checkpoints.read(hub.weights(found))
    model = loading.make_model(found, "pretrained", {}, CLASSES, seed=0, checkpoint=checkpoint)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        theirs = hf.ViTForImageClassification.from_pretrained(folder).eval()
        torch.testing.assert_close(model(images), logits(theirs, images), atol=1e-4, rtol=1e-4)
