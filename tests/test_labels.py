"""The rows of a model's head are the data set's classes: by the names that come with the weights, or refused."""

import argparse
import json
import logging
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import timm
import torch
from model_program import SMALL, prepare, write_classes
from published_files import cached
from safetensors.torch import load_file, save_file

from classlens.data.manifest_classes import ClassOrder, order_of
from classlens.errors import InputError
from classlens.models import checkpoints, labels, loading
from classlens.models.checkpoints import Checkpoint
from classlens.models.hub import Architecture
from classlens.models.labels import Labels
from classlens.trace import ViT

ARCH = "vit_tiny_patch16_224"
CLASSES = [("ant", "ant"), ("bee", "bee"), ("crane_fly", "crane fly"), ("dog", "dog")]
THEIRS = ["dog", "Crane-fly", "ant", "BEE"]
ROWS = [2, 3, 1, 0]
NATURAL = ClassOrder("natural")
UNSETTLED = ClassOrder("natural", (2, "2", "10"))


def build(arch: str = ARCH, classes: int = 4) -> ViT:
    torch.manual_seed(1)
    model = loading.build(arch, SMALL, classes)
    torch.nn.init.normal_(model.head.bias)
    return model


def found(facts: Any, where: str = "f.pt") -> list[Labels]:
    return labels.of_model(Architecture(ARCH), Checkpoint(Path("/nowhere") / where, {}, "", facts), False)


FORMS = {
    "classes": {"classes": THEIRS},
    "class_names": {"class_names": tuple(THEIRS)},
    "class_to_idx": {"class_to_idx": {name: row for row, name in enumerate(THEIRS)}},
    "idx_to_class": {"idx_to_class": dict(enumerate(THEIRS))},
    "idx_to_class as a list": {"idx_to_class": THEIRS},
    "id2label": {"id2label": {str(row): name for row, name in enumerate(THEIRS)}},
    "label2id": {"label2id": {name: str(row) for row, name in enumerate(THEIRS)}},
    "timm's arguments": {"args": argparse.Namespace(classes=THEIRS, epochs=3)},
    "Lightning": {"hyper_parameters": {"data": {"class_names": THEIRS}}},
    "numbers with descriptions": {
        "label_names": ["0", "1", "2", "3"],
        "label_descriptions": dict(zip("0123", THEIRS, strict=True)),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_every_form(form: str) -> None:
    (said,) = found(FORMS[form])
    assert labels.matches(said.rows, CLASSES) == ROWS


@pytest.mark.parametrize("arch", [ARCH, "deit_tiny_distilled_patch16_224"])
def test_rows_of_every_head_are_put_in_the_data_sets_order(arch: str, caplog: pytest.LogCaptureFixture) -> None:
    model, images = build(arch), torch.randn(2, 3, 32, 32)
    before = model(images).detach()
    with caplog.at_level(logging.INFO, "classlens"):
        said = labels.reorder_head(model, found({"classes": THEIRS}), CLASSES, UNSETTLED, "m")
    assert said == "put in the data set's order, by `classes` of f.pt"
    assert "put in the data set's order, by `classes` of f.pt" in caplog.text
    torch.testing.assert_close(model(images), before[:, ROWS])


def test_rows_in_order_stay_as_they_are() -> None:
    model = build()
    before = model.head.weight.clone()
    assert labels.reorder_head(model, found({"classes": [name for _, name in CLASSES]}), CLASSES, NATURAL, "m") is not None
    assert torch.equal(model.head.weight, before)


def test_ids_synsets_and_synonyms() -> None:
    classes = [("n02", "x"), ("n01440764_tench", "tench, Tinca tinca"), ("n03126707", "crane"), ("n02012849", "crane")]
    rows = [["n02012849", "crane"], ["n01440764", "tench"], ["n03126707", "crane"], ["n02", "y"]]
    assert labels.matches(rows, classes) == [3, 1, 2, 0]
    assert labels.matches([["Tinca tinca"], ["x"], ["crane"], ["crane"]], classes) == [1, 0, None, None]
    accented = unicodedata.normalize("NFC", "épée"), unicodedata.normalize("NFD", "épée")
    assert accented[0] != accented[1]
    assert labels.matches([[accented[0]], ["b"]], [("b", "b"), (accented[1], accented[1])]) == [1, 0]


def test_a_row_is_one_class() -> None:
    assert labels.matches([["a, b"], ["c"]], [("a", "a"), ("b", "b")]) == [None, None]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"classes": ["dog", "bee", "ant", "wasp"]}, r"names no row for 1 of the data set's 4 classes \(crane_fly\)"),
        ({"classes": ["w", "x", "y", "z"]}, r"\(w, x, y, z\) names no row for 4 of the data set's 4 classes"),
        ({"classes": THEIRS, "class_to_idx": {"ant": 0, "bee": 1, "crane_fly": 2, "dog": 3}}, "name different rows for the class ant"),
    ],
)
def test_labels_that_contradict_or_name_some_are_refused(facts: dict[str, Any], message: str) -> None:
    model = build()
    with pytest.raises(InputError, match=message) as caught:
        labels.reorder_head(model, found(facts), CLASSES, NATURAL, "m")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"classes": 4, "labels": [True, False, True, False], "class_names": "a,b", "class_to_idx": {"a": [0]}},
        {"class_to_idx": {"ant": 0, "bee": 0, "dog": 1, "crane_fly": 3}},
        {"id2label": {str(row): f"LABEL_{row}" for row in range(4)}},
        {"classes": ["ant", "bee"]},
    ],
)
def test_weights_without_names_need_an_order_that_is_settled(facts: dict[str, Any]) -> None:
    model = build()
    before = model.head.weight.clone()
    with pytest.raises(InputError, match="class 2 is 2 for timm and 10 for torchvision: set the data set's `class_order`"):
        labels.reorder_head(model, found(facts), CLASSES, UNSETTLED, "m")
    for order in (NATURAL, ClassOrder("timm", (2, "2", "10")), ClassOrder("list")):
        assert labels.reorder_head(model, found(facts), CLASSES, order, "m") is None
    assert torch.equal(model.head.weight, before)


def test_an_order_that_people_gave_goes_before_labels_that_name_some(caplog: pytest.LogCaptureFixture) -> None:
    given = ClassOrder("list")
    assert labels.reorder_head(build(), found({"classes": ["ant", "w", "x", "y"]}), CLASSES, given, "m") is None
    assert "names only 1 of the data set's 4 classes: using the data set's order" in caplog.text
    with pytest.raises(InputError, match="names no row for 3"):
        labels.reorder_head(build(), found({"classes": ["w", "ant", "x", "y"]}), CLASSES, given, "m")


def test_what_a_manifest_says_of_its_order() -> None:
    assert order_of(pa.table({})) == ClassOrder("list")
    said = json.dumps({"basis": "natural", "differs": [2, "2", "10"]})
    assert order_of(pa.table({}).replace_schema_metadata({"class_order": said})) == UNSETTLED


def test_imagenet_models_of_timm_have_labels() -> None:
    known = timm.get_pretrained_cfg("vit_tiny_patch16_224.augreg_in21k_ft_in1k").to_dict()
    architecture = Architecture(ARCH, repository=known["hf_hub_id"], facts=known)
    (said,) = labels.of_model(architecture, Checkpoint(Path("/nowhere/x"), {}), True)
    info = timm.data.ImageNetInfo()
    classes = [(name, info.label_name_to_description(name)) for name in info.label_names()]
    assert labels.matches(said.rows, classes) == list(range(1000))
    by_name = sorted(((name.split(", ")[0], name.split(", ")[0]) for _, name in classes), key=lambda item: item[1])
    assert sum(row is None for row in labels.matches(said.rows, by_name)) < 30  # a few names are of two classes: crane, maillot
    assert labels.of_model(architecture, Checkpoint(Path("/nowhere/x"), {}), False) == []


@pytest.mark.slow
@pytest.mark.parametrize("source", ["hub", "metadata", "beside"])
def test_a_models_own_labels_are_used(tmp_path: Path, source: str) -> None:
    known = build()
    listed = write_classes(tmp_path / "classes.parquet", CLASSES, {"basis": "natural", "differs": None})
    if source == "hub":
        folder = cached(tmp_path / "cache", "someone/insects")
        config = {
            "architecture": ARCH,
            "num_classes": 4,
            "model_args": SMALL,
            "label_names": THEIRS,
            "pretrained_cfg": {"classifier": "head"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        save_file(known.state_dict(), folder / "model.safetensors")
        asked: list[Any] = [
            "--arch",
            "hf-hub:someone/insects",
            "--weights",
            "pretrained",
            "--cache",
            tmp_path / "cache",
            "--offline",
            "true",
        ]
    else:
        path = tmp_path / "files" / "m.safetensors"
        path.parent.mkdir()
        save_file(known.state_dict(), path, {"classes": json.dumps(THEIRS)} if source == "metadata" else None)
        if source == "beside":
            (path.parent / "config.json").write_text(json.dumps({"id2label": dict(enumerate(THEIRS))}))
        asked = ["--arch", ARCH, "--weights", "checkpoint", "--checkpoint", path]
    done = prepare(tmp_path, *asked, "--class-list", listed)
    assert done.returncode == 0, done.stderr
    model, card = loading.load_model(tmp_path)
    assert torch.equal(model.head.weight, known.head.weight[ROWS])
    assert torch.equal(model.head.bias, known.head.bias[ROWS])
    assert card.labels is not None
    assert card.labels.startswith("put in the data set's order, by `")
    assert all(torch.equal(value, known.state_dict()[key]) for key, value in model.state_dict().items() if not key.startswith("head"))


@pytest.mark.slow
def test_weights_without_labels_are_refused_on_folders_of_numbers(tmp_path: Path) -> None:
    save_file(build().state_dict(), tmp_path / "m.safetensors")
    classes = [("1", "1"), ("2", "2"), ("3", "3"), ("10", "10")]
    listed = write_classes(tmp_path / "classes.parquet", classes, {"basis": "natural", "differs": [1, "2", "10"]})
    asked = ["--arch", ARCH, "--weights", "checkpoint", "--checkpoint", tmp_path / "m.safetensors", "--class-list", listed]
    done = prepare(tmp_path / "out", *asked)
    assert done.returncode == 1
    assert "class 1 is 2 for timm and 10 for torchvision" in done.stderr
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
def test_averaged_weights_are_timms_choice_and_said(tmp_path: Path) -> None:
    raw, average = build().state_dict(), build(classes=4).state_dict()
    average = {key: value + 1 for key, value in average.items()}
    arguments = argparse.Namespace(model=ARCH, lr=1e-3, classes=None)
    torch.save({"epoch": 3, "state_dict": raw, "state_dict_ema": average, "args": arguments}, tmp_path / "last.pth.tar")
    listed = write_classes(tmp_path / "classes.parquet", CLASSES, {"basis": "list", "differs": None})
    asked = ["--arch", ARCH, "--weights", "checkpoint", "--checkpoint", tmp_path / "last.pth.tar", "--class-list", listed]
    done = prepare(tmp_path, *asked, "--log", tmp_path / "log.txt")
    assert done.returncode == 0, done.stderr
    logged = (tmp_path / "log.txt").read_text()
    assert "using the parameters under `state_dict_ema`, as timm does; the file also holds `state_dict`" in logged
    kept, theirs = load_file(tmp_path / "model.safetensors"), timm.models.load_state_dict(str(tmp_path / "last.pth.tar"))
    assert kept.keys() == theirs.keys()
    assert all(torch.equal(kept[key], theirs[key]) for key in kept)
    assert loading.Card.read(tmp_path / "model.json").source.startswith("last.pth.tar, `state_dict_ema`, sha256 ")
    assert checkpoints.read(tmp_path / "last.pth.tar").facts["args"].lr == 1e-3
