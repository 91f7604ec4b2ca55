"""A look at a config before its run, and a config for a checkpoint and images."""

import json
import logging
import os
import re
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from conftest import REPOSITORY, small_config
from PIL import Image
from torchvision.models import VisionTransformer as TorchvisionViT
from warm_python import interpreter

import check_report
from classlens.check import accuracy, datasets, folders, models, outputs, proposal, text
from classlens.compute.device import Compute
from classlens.config.plan import Plan
from classlens.config.reading import read, resolve
from classlens.data.layouts import Image as Listed
from classlens.errors import InputError
from classlens.models import checkpoints, recognition
from classlens.models.checkpoints import Checkpoint
from classlens.trace import ViT
from classlens.version import __version__

NAMES = [str(number) for number in range(1, 13)]  # text order and natural order differ
COMPUTE = Compute(torch.device("cpu"))
SIZE = 32


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of twelve classes, each of one colour, with some noise."""
    root, rng = tmp_path_factory.mktemp("images") / "my photos", np.random.default_rng(0)
    colours = rng.integers(0, 256, (len(NAMES), 3))
    for split, count in (("train", 3), ("val", 3)):
        for name, colour in zip(NAMES, colours, strict=True):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = (colour + rng.normal(0, 4, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    (root / "val" / "1" / "notes.txt").write_text("no image")
    return root


def fitted(photos: Path, order: list[str]) -> ViT:
    """A small model whose head is a least-squares fit to the train images, with the classes in the given order."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=len(NAMES), img_size=SIZE).eval()
    files = sorted((photos / "train").glob("*/*.png"))
    images = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 127.5 - 1 for file in files])
    rows = torch.tensor([order.index(file.parent.name) for file in files])
    with torch.no_grad():
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        model.head.weight.copy_(20 * torch.linalg.lstsq(features, torch.eye(len(NAMES))[rows], driver="gelsd").solution.T)
        model.head.bias.zero_()
    return model


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parameters of a model of the images, whose rows are in text order."""
    return dict(fitted(photos, sorted(NAMES)).state_dict())


def configured(photos: Path, checkpoint: Path, **dataset: Any) -> dict[str, Any]:
    config = small_config(analyses=["identifiability"])
    config["datasets"] = {"d": {"kind": "imagefolder", "root": str(photos), "eval_split": "val", "images_per_class": 3, **dataset}}
    config["models"] = {"m": {"arch": "test_vit", "kwargs": {"img_size": SIZE}, "weights": str(checkpoint)}}
    return config


def said_of_model(config: dict[str, Any], name: str = "m") -> str:
    return " ".join("\n".join(models.lines(Plan(resolve(config), "results/x"), name, COMPUTE)).split())


# Models


def test_a_right_model_is_right_and_its_labels_are_listed(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"model": weights, "class_to_idx": {name: row for row, name in enumerate(sorted(NAMES))}}, tmp_path / "named.pth")
    lines = "\n".join(models.lines(Plan(resolve(configured(photos, tmp_path / "named.pth")), "results/x"), "m", COMPUTE))
    assert max(map(len, lines.splitlines())) <= text.WIDTH
    assert "test_vit, with other sizes: 0.301 million parameters, 6 blocks of width 64 with 2 heads" in " ".join(lines.split())
    assert "put in the data set's order, by `class_to_idx` of named.pth" in lines
    (row,) = [line.split() for line in lines.splitlines() if line.split()[:2] == ["9", "10"]]
    assert row == ["9", "10", "10", "1", "10"]  # index, folder, name, row of the head, its label
    assert "and 2 more" in lines
    assert "right at 32 of 32 images (100 %, 95 % interval 89 to 100 %); class among the 5 best: 32 of 32" in " ".join(lines.split())
    assert "warning" not in lines


def test_a_wrong_order_is_warned_of_with_the_right_one(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "plain.pth")
    assert "warning" not in said_of_model(configured(photos, tmp_path / "plain.pth", class_order="torchvision"))
    wrong = said_of_model(configured(photos, tmp_path / "plain.pth", class_order="timm"))
    assert "with `class_order: torchvision`, 32 of these images would be right instead of" in wrong
    assert "by its mean confidence, the model expects to be right at" in wrong


def test_a_model_that_guesses_is_warned_of(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    answers_one = {**weights, "head.weight": 0.001 * weights["head.weight"], "head.bias": torch.eye(len(NAMES))[3]}
    torch.save(answers_one, tmp_path / "guess.pth")
    assert "no better than guessing among 12 classes" in said_of_model(
        configured(photos, tmp_path / "guess.pth", class_order="torchvision")
    )


def test_what_the_run_makes_is_said_without_an_accuracy() -> None:
    config = small_config()
    assert "random, by the seed" in said_of_model(config) and "accuracy that of guessing" in said_of_model(config)
    config["models"]["m"]["weights"] = "trained"
    assert "accuracy after the training" in said_of_model(config)
    assert "random twins 5" in said_of_model(config)
    plan = Plan(resolve(config), "results/x")
    said = "\n".join(datasets.lines(plan.datasets["d"], plan.config))
    assert "generated by the run" in said and "10 images (2 per class), analysed" in said and "trains models" in said


def test_weights_for_images_that_are_not_made_yet_wait(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "any.pth")
    config = small_config()
    config["models"]["m"]["weights"] = str(tmp_path / "any.pth")
    assert said_of_model(config) == "weights checked when the run has made the images of its data set"


def test_warnings_are_collected_once() -> None:
    with models.warnings() as texts:
        logging.getLogger("classlens").warning("a %s", "b")
    logging.getLogger("classlens").warning("later")
    assert texts == ["a b"]


# Images, data sets and results


def test_a_sample_is_spread_over_classes_and_the_same_for_a_seed() -> None:
    images = [Listed(name, f"{name}/{number}") for name in "abc" for number in range(20)]
    chosen = accuracy.sample(images, 0, 10)
    assert sorted([image.class_id for image in chosen].count(name) for name in "abc") == [3, 3, 4]
    assert chosen == accuracy.sample(images, 0, 10) != accuracy.sample(images, 1, 10)
    assert accuracy.sample(images, 0, 100) == images


def test_a_data_set_in_words(photos: Path) -> None:
    config = small_config()
    config["datasets"]["d"] = {
        "kind": "imagefolder",
        "root": str(photos),
        "eval_split": "val",
        "images_per_class": 2,
        "probe_split": "train",
    }
    config["datasets"]["d"]["probe_images_per_class"] = 3
    plan = Plan(resolve(config), "results/x")
    said = " ".join("\n".join(datasets.lines(plan.datasets["d"], plan.config)).split())
    assert f"imagefolder, val is {photos / 'val'}" in said
    assert "val 24 of 36 images (2 per class), analysed train 36 of 36 images (3 per class), fits linear probes" in said
    assert "left out val: 1 .txt (1/notes.txt)" in said
    assert "torchvision's order differs at class 1" in said and "masks none" in said
    results = " ".join("\n".join(outputs.lines(plan)).split())
    assert "F1 identifiability_evolution" in results and "F4 class_vs_context" in results and "because d has no masks" in results


def test_entries_wrap_between_items() -> None:
    found = text.entry("figures", [f"F{number} name_of_a_figure" for number in range(12)])
    assert max(map(len, found.splitlines())) <= text.WIDTH
    assert all(line.rstrip(",").endswith("figure") for line in found.splitlines())


# Errors


def broken(photos: Path, checkpoint: Path) -> dict[str, tuple[dict[str, Any], str]]:
    def changed(part: str, **values: Any) -> dict[str, Any]:
        config = configured(photos, checkpoint, class_order="torchvision")
        next(iter(config[part].values())).update(values)
        return config

    empty = checkpoint.with_name("empty.pth")
    torch.save({}, empty)
    (garbage := checkpoint.with_name("garbage.pth")).write_bytes(b"no checkpoint")
    (short := checkpoint.with_name("short.txt")).write_text("\n".join(NAMES[:5]))
    return {
        "no checkpoint": (changed("models", weights="/nowhere.pth"), "there is no file /nowhere.pth"),
        "no images": (changed("datasets", root="/nowhere"), "data set folder /nowhere/val does not exist"),
        "no split": (changed("datasets", eval_split="dev"), "holds train, val"),
        "too few images": (changed("datasets", images_per_class=9), "has 3 images, but the config needs 9"),
        "no masks": (changed("datasets", masks="/nowhere"), "masks folder /nowhere does not exist"),
        "no order": (changed("datasets", class_order=None), "folders can be sorted in two ways"),
        "short list": (changed("datasets", class_order=None, classes=str(short)), "does not list the class folder"),
        "other kwargs": (changed("models", kwargs={"img_size": SIZE, "depth": 3}), "does not fit the model"),
        "no architecture": (changed("models", arch="vit_tiny_patch16_225"), "similar names are"),
        "split as root": (changed("datasets", root=str(photos / "val")), f"is itself a split: set the data set's `root` to {photos}"),
        "unknown class": ({**changed("models"), "projection": {"classes": [13]}}, "13 is not one of the 12 classes"),
        "unknown image": ({**changed("models"), "relevance": {"images": {"x.png": ["1"]}}}, "'x.png' is not an analysed image"),
        "other transform": (changed("models", transform={"resize": [8, 8]}), "does not give the model's 32 x 32 pixels"),
        "empty checkpoint": (changed("models", weights=str(empty)), "has no parameters"),
        "damaged checkpoint": (changed("models", weights=str(garbage)), "cannot be read"),
        "other file": (changed("models", sha256="0" * 64), "sha256"),
    }


def test_each_broken_input_is_one_line(
    photos: Path, weights: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(weights, tmp_path / "plain.pth")
    monkeypatch.setattr(check_report, "counts", lambda *_: None)
    args = Namespace(config=tmp_path / "my.yaml", results=tmp_path / "results", threads=1)
    for what, (config, message) in broken(photos, tmp_path / "plain.pth").items():
        assert check_report.show(args, resolve(config)) == 1, what
        errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and message in errors[0], (what, errors)
    assert not (tmp_path / "results").exists()


def test_other_models_are_checked_after_one_has_failed(
    photos: Path, weights: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(weights, tmp_path / "plain.pth")
    config = configured(photos, tmp_path / "plain.pth", class_order="torchvision")
    config["models"] = {"broken": {**config["models"]["m"], "weights": "/nowhere.pth"}, **config["models"]}
    config["models"]["m"]["random_twin"] = "broken"
    assert check_report.show(Namespace(config=Path("my.yaml"), results=tmp_path, threads=1), resolve(config)) == 1
    said = capsys.readouterr().out
    assert "Model broken, data set d\nerror: config key `models.broken.weights`: there is no file /nowhere.pth" in said
    assert "right at 32 of 32 images" in said


# A config for a checkpoint


def written(tmp_path: Path, checkpoint: Path, images: Path) -> tuple[str, Path]:
    proposal.write(tmp_path / "my run.yaml", checkpoint, images, COMPUTE)
    return (tmp_path / "my run.yaml").read_text(encoding="utf-8"), tmp_path / "my run.yaml"


def test_a_checkpoint_with_labels_needs_no_choice(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    """Lightning's prefix, settings and labels."""
    facts = {"model_name": "test_vit", "class_to_idx": {name: row for row, name in enumerate(sorted(NAMES))}}
    torch.save({"state_dict": {f"model.{key}": value for key, value in weights.items()}, "hyper_parameters": facts}, tmp_path / "last.ckpt")
    said, path = written(tmp_path, tmp_path / "last.ckpt", photos)
    config = read(path)
    dataset, model = config.datasets["my_photos"], config.models["last"]
    assert (config.run, dataset.root, dataset.eval_split, dataset.probe_split) == ("my_run", str(photos), "val", "train")
    assert (dataset.images_per_class, dataset.probe_images_per_class, dataset.class_order) == (3, 3, None)
    assert (model.arch, model.kwargs) == ("test_vit", {"img_size": SIZE})
    assert "# named in last.ckpt" in said and "# Warning: nothing in last.ckpt says how its images were prepared." in said
    assert "right at 32 of 32 images" in said_of_model(yaml.safe_load(said), "last")


def test_an_open_order_is_tried_and_left_open(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict_ema": weights}, tmp_path / "plain.pth")
    said, path = written(tmp_path, tmp_path / "plain.pth", photos / "val")  # one of the splits
    assert "class 1 is 10 (torchvision) or 2 (timm)" in said and "# the only network of timm with these parameters" in said
    assert re.search(r"# class_order: torchvision +# 32 of 32 images are right", said)
    dataset = read(path).datasets["my_photos"]
    assert (dataset.root, dataset.eval_split, dataset.class_order) == (str(photos), "val", None)
    with pytest.raises(InputError, match="folders can be sorted in two ways"):
        said_of_model(yaml.safe_load(said), "plain")


def test_labels_of_more_classes_become_a_list(photos: Path, weights: dict[str, Any], tmp_path: Path) -> None:
    for name in NAMES[:4]:
        shutil.copytree(photos / "val" / name, tmp_path / "some" / "test" / name)
    labels = {"label_names": sorted(NAMES), "architecture": "test_vit", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "crop_pct": 1.0}}
    (tmp_path / "config.json").write_text(json.dumps(labels))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    said, path = written(tmp_path, tmp_path, tmp_path / "some")  # a folder as timm writes it
    config = read(path)
    assert Path(str(config.datasets["some"].classes)).read_text(encoding="utf-8").split() == sorted(NAMES)
    transform = config.models["pytorch_model"].transform
    assert transform and (transform.resize, transform.crop) == (SIZE, [SIZE, SIZE])
    assert "named in config.json beside the checkpoint" in said
    assert "right at 12 of 12 images" in said_of_model(yaml.safe_load(said), "pytorch_model")


@pytest.mark.parametrize(
    ("facts", "arch"),
    [({"model_kwargs": {"embed_dim": 24, "num_heads": 2, "depth": 2}}, "vit_tiny_patch16_224"), ({}, None)],
    ids=["known heads", "unknown heads"],
)
def test_a_number_of_heads_that_nothing_shows_is_left_open(facts: dict[str, Any], arch: str | None, photos: Path, tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=12, embed_dim=24, num_heads=2, depth=2, img_size=SIZE)
    settings = {"model": "vit_tiny_patch16_224", "crop_pct": None, "mean": [0.4, 0.4, 0.4], **facts}
    torch.save({"state_dict": model.state_dict(), "args": Namespace(**settings)}, tmp_path / "my.pth")
    said, _ = written(tmp_path, tmp_path / "my.pth", photos)
    given = yaml.safe_load(said)["models"]["my"]
    assert given.get("arch") == arch
    assert ('"num_heads": NUMBER}' in said) == (arch is None)
    assert (given.get("transform") or {}).get("mean") == ([0.4, 0.4, 0.4] if arch else None)


@pytest.mark.parametrize(
    ("weights_of", "message"),
    [
        (lambda: timm.create_model("test_vit", num_classes=0, img_size=SIZE), 'class_embedding: {"fit": "linear", "split": "train"}'),
        (lambda: timm.create_model("test_vit", num_classes=5, img_size=SIZE), "# classes: FILE  # choose: the head has 5 rows"),
    ],
    ids=["no head", "other classes"],
)
def test_choices_that_only_the_user_can_make(weights_of: Callable[[], ViT], message: str, photos: Path, tmp_path: Path) -> None:
    torch.save(weights_of().state_dict(), tmp_path / "my.pth")
    assert message in written(tmp_path, tmp_path / "my.pth", photos)[0]


def test_a_split_and_a_folder_above_the_data_set_are_the_same_data_set(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "above" / "mine")
    (tmp_path / "above" / "mine" / "masks" / "val").mkdir(parents=True)
    whole, above, split = (folders.find(tmp_path / "above" / name) for name in ("mine", "", "mine/val"))
    assert whole == above == split
    assert (whole.root, whole.analysed, whole.fitted, sorted(whole.places)) == (
        tmp_path / "above" / "mine",
        "val",
        "train",
        ["train", "val"],
    )
    assert folders.find(tmp_path / "above" / "mine" / "train").analysed == "train"


def test_no_head_is_fitted_to_the_analysed_split(photos: Path, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=0, img_size=SIZE).state_dict(), tmp_path / "my.pth")
    said, _ = written(tmp_path, tmp_path / "my.pth", photos / "train")
    assert "# class_embedding: {fit: linear, split: NAME}  # choose" in said


def test_what_exists_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "my run.yaml").write_text("mine")
    with pytest.raises(InputError, match="exists: remove it"):
        written(tmp_path, tmp_path / "x.pth", photos)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "holds no class folders with images"),
        (["one/a", "two/a"], "has class folders in one and in two: set the data set's `root` to one of these folders"),
    ],
)
def test_folders_that_are_no_data_set(made: list[str], message: str, tmp_path: Path) -> None:
    for name in made:
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "0.png")
    with pytest.raises(InputError, match=message):
        folders.find(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        folders.find(tmp_path / "none")


# Architectures by the shapes of parameters


def checkpoint_of(model: torch.nn.Module, **facts: Any) -> Checkpoint:
    return Checkpoint(Path("my.pth"), dict(model.state_dict()), "", facts)


def test_names_of_one_network_are_one_choice() -> None:
    found = recognition.fitting(checkpoint_of(timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64)))
    (network,) = found
    assert {"vit_tiny_patch16_224", "vit_tiny_patch16_384", "deit_tiny_patch16_224"} <= set(network.names)
    assert network.kwargs == {"img_size": 64}


def test_networks_that_differ_in_more_than_names_are_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """QuickGELU has no parameters."""
    names = ["vit_base_patch32_clip_224", "vit_base_patch32_clip_quickgelu_224", "vit_base_patch32_224"]
    monkeypatch.setattr(timm, "list_models", lambda: names)
    with torch.device("meta"):
        checkpoint = checkpoint_of(timm.create_model(names[0], num_classes=3))
    assert [network.names for network in recognition.fitting(checkpoint)] == [[names[0]], [names[1]]]


def test_torchvisions_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "list_models", lambda: ["vit_tiny_patch16_224", "vit_small_patch16_224"])
    model = TorchvisionViT(image_size=32, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=5)
    (network,) = recognition.fitting(checkpoint_of(model))
    assert (network.names, network.kwargs) == (["vit_tiny_patch16_224"], {"img_size": 32})


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"args": Namespace(model="vit_tiny_patch16_224.augreg_in21k")}, "vit_tiny_patch16_224.augreg_in21k"),
        ({"hparams": {"backbone": "test_vit"}}, "test_vit"),
        ({"arch": "vit_b_16", "model": None, "model_name": 3}, None),
    ],
)
def test_architectures_in_settings(facts: dict[str, Any], name: str | None) -> None:
    assert recognition.named(facts) == name


def test_arguments_in_settings_complete_the_architecture() -> None:
    given = {"embed_dim": 24, "num_heads": 2, "depth": 2, "img_size": 32, "num_classes": 4, "pretrained": True}
    facts = {"args": {"model": "vit_tiny_patch16_224", "model_kwargs": given}}
    kwargs = recognition.arguments_in(facts)
    assert kwargs == {"embed_dim": 24, "num_heads": 2, "depth": 2, "img_size": 32}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, **kwargs)
    (network,) = recognition.fitting(checkpoint_of(model), "vit_tiny_patch16_224", kwargs)
    assert network.kwargs == kwargs
    assert recognition.fitting(checkpoint_of(model)) == []


def test_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match="is not a Vision Transformer"):
        recognition.shape_of(checkpoint_of(torch.nn.Conv2d(3, 4, 2)))


def test_unknown_prefixes_are_found(weights: dict[str, Any]) -> None:
    shape = recognition.shape_of(Checkpoint(Path("my.pth"), {f"encoder.vit.{key}": value for key, value in weights.items()}))
    assert (shape.key_prefix, shape.size, shape.classes) == ("encoder.vit.", SIZE, len(NAMES))
    assert checkpoints.unwrapped(dict(weights), "x").keys() == weights.keys()


# The command


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The launcher in an environment of a checkout whose path has a space, called through a link."""
    bin_folder = tmp_path / "a checkout" / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    shutil.copy2(REPOSITORY / "envs" / "classlens", bin_folder)
    (tmp_path / "a checkout" / "workflow").symlink_to(REPOSITORY / "workflow")
    (bin_folder / "python").write_text(f'#!/bin/sh\nexec "{interpreter()}" "$@"\n')
    (bin_folder / "python").chmod(0o755)
    (tmp_path / "classlens").symlink_to(bin_folder / "classlens")
    return tmp_path / "classlens"


def called(command: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False, cwd=command.parent, env=dict(os.environ))


def test_the_command_lists_its_commands_and_their_arguments(command: Path) -> None:
    assert "check    check a config before its run" in called(command, "--help").stdout
    assert "--fix MODEL IMAGES" in called(command, "check", "--help").stdout
    assert called(command, "--version").stdout == f"classlens {__version__}\n"
    assert called(command, "chek").returncode == 2
    (command.parent / "my.yaml").write_text(json.dumps({**small_config(), "sead": 1}))
    done = called(command, "check", "my.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: config key `sead` is not known: did you mean `seed`?\n")


@pytest.mark.slow
def test_a_config_is_written_and_checked(command: Path, photos: Path, weights: dict[str, Any]) -> None:
    """The order of the classes is open, which ends the check before the estimate."""
    torch.save(weights, command.parent / "my_vit.pth")
    (command.parent / "photos").symlink_to(photos / "val")
    done = called(command, "check", "my.yaml", "--fix", "my_vit.pth", "photos")
    assert done.stdout.startswith("my.yaml is written.\n")
    assert "error: model test_vit does not name its classes" in done.stdout
    assert (done.returncode, done.stderr) == (1, "error: my.yaml has 1 problem (above): correct them, and check it again\n")


@pytest.mark.slow
def test_a_config_is_checked_before_its_run(command: Path) -> None:
    (command.parent / "my.yaml").write_text(json.dumps(small_config(analyses=["identifiability"])))
    done = called(command, "check", "my.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    titles = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert titles == ["my.yaml: run small, protocol corrected", "Data set d", "Model m, data set d", "Results", "Effort"]
    assert " jobs, about " in " ".join(done.stdout.split())
    assert not (command.parent / "results").exists()
