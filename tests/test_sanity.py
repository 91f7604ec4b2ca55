"""Signs that a run measured something else than was meant."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import Run
from PIL import Image
from safetensors.torch import save_file

from classlens.models.loading import build
from classlens.report import sanity
from classlens.report.sanity import Answers


def manifest(classes: int, **columns: list) -> pa.Table:
    named = [[f"c{index}", f"class {index}"] for index in range(classes)]
    return pa.table(columns or {"image_id": []}).replace_schema_metadata({"classes": json.dumps(named)})


def answers(classes: int, per_class: int, accuracy: float, order: np.ndarray | None = None, seed: int = 0) -> Answers:
    """Answers that are right with a probability, or else any class, given in another order of the classes."""
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(classes), per_class)
    meant = np.where(rng.random(len(true)) < accuracy, true, rng.integers(0, classes, len(true)))
    return Answers(true, meant if order is None else order[meant], classes)


def test_a_good_model_is_not_suspected() -> None:
    for seed in range(20):
        assert not list(sanity.of_model(answers(10, 20, 0.8, seed=seed), manifest(10)))


@pytest.mark.parametrize("accuracy", [1.0, 0.7])
def test_classes_in_text_order_are_named_with_both_numbers(accuracy: float) -> None:
    text = np.array(sorted(range(12), key=str))  # 0, 1, 10, 11, 2, ...
    given = answers(12, 6, accuracy, np.argsort(text))
    (message,) = sanity.of_model(given, manifest(12))
    share = (given.predicted == np.argsort(text)[given.true]).mean()
    assert f"{100 * given.accuracy:.3g} % of 72 images are right" in message
    assert f"and {100 * share:.3g} % would be if 10 classes were assigned otherwise" in message
    assert "it answers c4 for c2" in message
    assert message.endswith("that the data set's `classes` names")


def test_a_model_that_guesses_is_suspected_and_not_reassigned() -> None:
    """The best assignment of guesses is better than chance on the images that it was chosen by, and only there."""
    alarms = [list(sanity.of_model(answers(10, 5, 0.0, seed=seed), manifest(10))) for seed in range(40)]
    assert all("assigned otherwise" not in message for found in alarms for message in found)
    assert sum("no better than guessing among 10 classes (10 %)" in "".join(found) for found in alarms) >= 36
    given = answers(10, 5, 0.0)
    assert (given.predicted == given.best_assignment()[given.true]).mean() > 0.2


def test_one_image_per_class_says_nothing_about_their_order() -> None:
    order = np.roll(np.arange(12), 1)
    (message,) = sanity.of_model(answers(12, 1, 1.0, order), manifest(12))
    assert "no better than guessing" in message


def test_two_confused_classes_are_no_other_order() -> None:
    given = answers(100, 5, 1.0)
    given.predicted[:10] = np.where(given.true[:10] == 0, 1, 0)  # two classes exchanged, of a hundred
    (message,) = sanity.of_model(given, manifest(100))
    assert "no image of 2 classes (c0, c1) is classified correctly" in message


def test_the_assignment_keeps_classes_without_images() -> None:
    given = Answers(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), 5)
    assert given.best_assignment().tolist() == [1, 0, 2, 3, 4]


def test_duplicates_and_masks_without_an_object_are_counted() -> None:
    table = manifest(
        2,
        sha256=["a", "b", "a", "c", "d"],
        class_index=[0, 0, 1, 1, 1],
        path=["0/a.png", "0/b.png", "1/a.png", "1/c.png", "1/d.png"],
        mask_fraction=[0.2, 1.0, 0.0, None, 1.0],
    )
    copies, full, empty = sanity.of_images(table)
    assert copies.startswith("1 image has copies, 1 of them in another class (such as 0/a.png and 1/a.png)")
    assert full.startswith("the mask of 2 images (0/b.png, 1/d.png) has nothing but the object")
    assert empty.startswith("the mask of 1 image (1/a.png) has no object")
    assert list(sanity.of_both(table, manifest(2, sha256=["d"]), "test")) == [
        "the split test also holds 1 analysed image (1/d.png), so that probes are fitted on images that they are tested on: remove"
        " them from one of the splits"
    ]
    assert not list(sanity.of_images(manifest(2, sha256=["a", "b"], class_index=[0, 1], path=["x", "y"], mask_fraction=[0.5, None])))


KWARGS = {"img_size": 32, "embed_dim": 64, "num_heads": 2, "depth": 2}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve classes named 0 to 11, and a model that knows them all in the order of their numbers."""
    home = tmp_path_factory.mktemp("numbered")
    rng, pixels, labels = np.random.default_rng(0), [], []
    for label in range(12):
        colour = rng.integers(0, 256, 3)
        for number in range(6):
            path = home / "images" / "validation" / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.append((colour + rng.integers(-9, 10, (32, 32, 3))).clip(0, 255).astype(np.uint8))
            Image.fromarray(pixels[-1]).save(path)
            labels.append(label)
    torch.manual_seed(0)
    model = build("vit_tiny_patch16_224", KWARGS, 12)
    with torch.inference_mode():
        features = model.forward_features(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1)[:, 0].double()
        targets = torch.nn.functional.one_hot(torch.tensor(labels), 12).double()
        weight = torch.linalg.lstsq(features, targets - 1 / 12, driver="gelsd").solution.T
        model.head.weight.copy_(weight)
        model.head.bias.zero_()
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, home / "model.safetensors")
    return Run(home / "work")


@pytest.mark.parametrize(("order", "accuracy"), [("timm", 100), ("torchvision", None)])
def test_a_run_in_the_wrong_order_says_so(numbered: Run, order: str, accuracy: float | None) -> None:
    data = {"kind": "imagefolder", "root": "../images", "images_per_class": None, "class_order": order}
    model = {"arch": "vit_tiny_patch16_224", "kwargs": KWARGS, "weights": "../model.safetensors", "random_twin": False}
    model["transform"] = {"resize": [32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"run": order, "datasets": {"d": data}, "models": {"m": model}, "analyses": ["identifiability"]}
    target = f"results/{order}/warnings.json"
    numbered.complete(target, "--configfile", numbered.configure(config, f"{order}.yaml"))
    warnings = json.loads((numbered.folder / target).read_text(encoding="utf-8"))
    if accuracy:
        assert warnings == []
        return
    (warning,) = warnings
    assert (warning["about"], warning["model"]) == ("m", "m")
    assert "16.7 % of 72 images are right, and 100 % would be if 10 classes were assigned otherwise" in warning["message"]


def test_an_order_that_nobody_knows_is_refused(numbered: Run) -> None:
    data = {"kind": "imagefolder", "root": "../images", "images_per_class": None}
    model = {"arch": "vit_tiny_patch16_224", "kwargs": KWARGS, "weights": "../model.safetensors", "random_twin": False}
    config = {"run": "unknown", "datasets": {"d": data}, "models": {"m": model}, "analyses": ["identifiability"]}
    done = numbered.snakemake("results/unknown/models/m/model.json", "--configfile", numbered.configure(config, "unknown.yaml"))
    assert done.returncode == 1
    (reason,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("What went wrong: ")]
    assert "does not name its classes, and folders can be sorted in two ways: class 2 is" in reason
    assert "`class_order`" in reason
