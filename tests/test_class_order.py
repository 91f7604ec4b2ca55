"""Which index a class has: by the names of folders as torchvision or timm order them, by a list, and in all splits alike."""

import logging
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import Run, small_config
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.data.readers.reader_image_folder import find_images_and_targets
from timm.utils.misc import natural_key as natural_key_of_timm
from torchvision.datasets import ImageFolder

from classlens.config import reading as configs
from classlens.config.plan import Plan
from classlens.data import manifest
from classlens.data.class_order import ClassOrder, first_difference, in_order, natural_key
from classlens.data.layouts import Dataset
from classlens.data.manifest_classes import class_index, classes_of, order_of
from classlens.errors import InputError
from classlens.storage.parquet import read_table

NUMBERS = [str(number) for number in range(12)]


def photos(root: Path, *classes: str, split: str = "validation", name: str = "0.png") -> Path:
    for class_id in classes:
        path = root / split / class_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return root


def build(root: Path, split: str = "validation", **options: Any) -> pa.Table:
    return manifest.build(Dataset("imagefolder", root, **options), split, None, shard_size=9, threads=1)


def indices(table: pa.Table) -> dict[str, int]:
    return dict(zip(table["class_id"].to_pylist(), table["class_index"].to_pylist(), strict=True))


def planned(root: Path, trained: bool = False, probes: bool = True, **options: Any) -> Plan:
    config = small_config(analyses=["identifiability", *(["probes"] if probes else [])])
    config["datasets"] = {
        "d": {"kind": "imagefolder", "root": str(root), "images_per_class": None, "probe_images_per_class": None, **options}
    }
    config["models"]["m"]["weights"] = "trained" if trained else "random"
    return Plan(configs.resolve(config), "results/small")


@given(st.text(max_size=12) | st.from_regex(r"[a-zA-Z]{0,2}[0-9]{1,3}[_ ]?[0-9]{0,3}", fullmatch=True))
def test_natural_key_is_timms(name: str) -> None:
    try:
        expected = natural_key_of_timm(name)
    except ValueError:  # superscripts are digits without being numbers
        return
    assert natural_key(name) == expected


@given(st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_every_name_has_a_place(names: list[str]) -> None:
    for order in ("torchvision", None):
        assert sorted(in_order(names, order)) == sorted(names)
    difference = first_difference(names)
    assert (difference is None) == (in_order(names, None) == sorted(names))
    if difference:
        assert difference == (difference[0], in_order(names, None)[difference[0]], sorted(names)[difference[0]])


def test_numbers_come_as_numbers_and_that_this_is_a_guess_is_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "classlens"):
        table = build(photos(tmp_path, *NUMBERS))
    assert indices(table) == {name: int(name) for name in NUMBERS}
    assert order_of(table) == ClassOrder("natural", (2, "2", "10"))
    assert "class 2 is 2, and 10 in torchvision's order" in caplog.text


def test_the_orders_are_those_of_the_libraries(tmp_path: Path) -> None:
    photos(tmp_path, *NUMBERS, "B2", "a10", "a9", "été")
    table = build(tmp_path, class_order="torchvision")
    assert indices(table) == ImageFolder(tmp_path / "validation").class_to_idx
    assert order_of(table) == ClassOrder("torchvision")
    table = build(tmp_path, class_order="timm")
    assert indices(table) == find_images_and_targets(str(tmp_path / "validation"))[1]
    assert order_of(table) == ClassOrder("timm")


def test_names_of_letters_have_one_order(tmp_path: Path) -> None:
    table = build(photos(tmp_path, "cat", "dog_a", "eel"))
    assert order_of(table) == ClassOrder("natural")
    (tmp_path / "names.txt").write_text("eel\nunused\ndog_a\ncat\n", encoding="utf-8")
    table = build(tmp_path, classes=str(tmp_path / "names.txt"))
    assert order_of(table) == ClassOrder("list")
    assert [class_id for class_id, _ in classes_of(table)] == ["eel", "unused", "dog_a", "cat"]


def test_capitals_and_zeros_have_no_order_in_timm(tmp_path: Path) -> None:
    assert first_difference(["1", "01"]) == (0, "1", "01")
    assert first_difference(["a", "B"]) == (0, "a", "B")
    assert first_difference(["a1", "a2"]) is None
    with pytest.raises(InputError, match="01 and 1 have no order in timm"):
        build(photos(tmp_path, "01", "1"), class_order="timm")


def test_timms_order_is_refused_where_timm_finds_other_classes(tmp_path: Path) -> None:
    photos(tmp_path, "cat", "dog")
    photos(tmp_path, "cat", name="in/1.png")
    with pytest.raises(InputError, match=r"timm names classes after innermost folders, and \S+/cat holds in/1.png"):
        build(tmp_path, class_order="timm")
    other = photos(tmp_path / "other", "cat")
    photos(other, "dog", name="0.webp")
    with pytest.raises(InputError, match=r"timm does not count \S+/dog as a class"):
        build(other, class_order="timm")
    assert indices(build(other)) == {"cat": 0, "dog": 1}


def test_the_order_is_for_folders_without_a_list(tmp_path: Path) -> None:
    photos(tmp_path, "cat", "dog")
    with pytest.raises(InputError, match=r"`datasets.d.class_order` and `classes` exclude each other"):
        planned(tmp_path, class_order="timm", classes="imagenet")
    for kind in ("shapes", "imagenet_s"):
        with pytest.raises(InputError, match=r"`datasets.d.class_order` is for folders that name the classes"):
            planned(tmp_path, class_order="timm", kind=kind)
    with pytest.raises(InputError, match="'name', and must be one of torchvision, timm"):
        planned(tmp_path, class_order="name")


def test_all_splits_number_classes_alike(tmp_path: Path) -> None:
    photos(tmp_path, "a", "b", "c", "d", split="train")
    photos(tmp_path, "a", "c", "d", split="test")
    photos(tmp_path, "c", "d", split="validation")
    plan = planned(tmp_path, trained=True)
    assert plan.datasets["d"].class_splits == ["train", "test", "validation"]
    assert plan.datasets["d"].num_classes == plan.training_step("m").num_classes == 4
    tables = [build(tmp_path, split, class_splits=("train", "test", "validation")) for split in ("train", "test", "validation")]
    assert [indices(table) for table in tables] == [{"a": 0, "b": 1, "c": 2, "d": 3}, {"a": 0, "c": 2, "d": 3}, {"c": 2, "d": 3}]
    assert len({table.schema.metadata[b"classes"] for table in tables}) == 1


@pytest.mark.parametrize(
    ("trained", "classes", "message"),
    [
        (
            True,
            {"train": "abcd", "test": "abcd", "validation": "bcde"},
            "split validation of .* has the class folder e, which split test",
        ),
        (True, {"train": "abc", "test": "abcd", "validation": "abc"}, "split test of .* has the class folder d, which split train lacks"),
        (False, {"test": "abc", "validation": "abcd"}, "split validation of .* has the class folder d, which split test lacks"),
    ],
)
def test_splits_with_classes_of_their_own_are_refused(
    tmp_path: Path, trained: bool, classes: dict[str, str], message: str, note_fault: Callable[..., None]
) -> None:
    for split, names in classes.items():
        photos(tmp_path, *names, split=split)
    with pytest.raises(InputError, match=message) as caught:
        planned(tmp_path, trained=trained)
    note_fault("data set: splits with different classes", str(caught.value))
    (tmp_path / "names.txt").write_text("\n".join("abcde"), encoding="utf-8")
    assert planned(tmp_path, trained=trained, classes=str(tmp_path / "names.txt")).datasets["d"].num_classes == 5


def test_only_splits_that_are_used_count(tmp_path: Path) -> None:
    photos(tmp_path, "a", "b", "c", split="test")
    photos(tmp_path, "x", split="train")
    photos(tmp_path, "a", "b", "c", "d")
    assert planned(tmp_path, probes=False).datasets["d"].num_classes == 4


def test_a_class_without_usable_images_keeps_its_index(tmp_path: Path) -> None:
    photos(tmp_path, "b", "c")
    (tmp_path / "validation" / "a").mkdir()
    assert indices(build(tmp_path, skip=True)) == {"b": 1, "c": 2}


def test_the_workflow_hands_all_of_it_to_the_manifest(tmp_path: Path) -> None:
    run = Run(tmp_path / "a run")
    for split, numbers in (("my train", range(12)), ("test", range(0, 12, 2)), ("validation", (2, 10))):
        photos(tmp_path / "photos", *map(str, numbers), split=split)
    settings = {"images_per_class": None, "probe_images_per_class": None, "train_split": "my train", "class_order": "torchvision"}
    config = small_config(analyses=["probes"], datasets={"d": {"kind": "imagefolder", "root": str(tmp_path / "photos"), **settings}})
    config["models"]["m"]["weights"] = "trained"
    run.complete("--until", "manifest", "--configfile", run.configure(config))
    tables = [read_table(run.folder / f"results/small/data/d/{split}/manifest.parquet") for split in ("my train", "test", "validation")]
    text_order = {name: index for index, name in enumerate(sorted(NUMBERS))}
    assert indices(tables[0]) == text_order
    assert all(indices(table).items() <= text_order.items() for table in tables)
    assert {order_of(table) for table in tables} == {ClassOrder("torchvision")}


def manifest_depends_on(plan: Plan) -> Any:
    """Return the settings and files that make the manifest of the analysed split stale."""
    dataset = plan.datasets["d"]
    return dataset.manifest_step("validation"), dataset.manifest_content("validation")


def test_the_order_makes_manifests_stale(tmp_path: Path) -> None:
    photos(tmp_path, "a", "b", split="train")
    photos(tmp_path, "a")
    settings = [manifest_depends_on(planned(tmp_path, True, False, class_order=order)) for order in (None, "timm")]
    assert settings[0] != settings[1]
    photos(tmp_path, "c", split="train")
    assert manifest_depends_on(planned(tmp_path, True, False)) != settings[0]


# Lists of classes


def listed(root: Path, content: bytes) -> dict[str, int]:
    file = root / "names.txt"
    file.write_bytes(content)
    return indices(build(root, classes=str(file)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_any_editor(tmp_path: Path, encoding: str, form: str, end: str) -> None:
    folder = unicodedata.normalize("NFD", "été")
    photos(tmp_path, folder, "zebra")
    names = end.join(["zebra", " unused\u2028one ", unicodedata.normalize(form, "été"), "", ""])  # type: ignore[arg-type]
    assert listed(tmp_path, names.encode(encoding)) == {folder: 2, "zebra": 0}


LISTS = {
    "in latin-1": ("cat\ndög\n".encode("latin-1"), "is not in UTF-8: save it in that encoding"),
    "in UTF-16 without its mark": ("cat\ndog\n".encode("utf-16-le"), "zero bytes"),
    "empty": (b"\n \n", "is empty"),
    "with a blank line": (b"cat\n\ndog\n", "line 2 is blank"),
    "with a path": (b"validation/cat\ndog\n", r"line 1 \(validation/cat\) is a path"),
    "with a line twice": (b"cat\ndog\ncat\n", r"line 3 \(cat\) appears twice"),
    "without a folder": (b"cat\n", "does not list the class folder dog"),
    "in other capitals": (b"cat\nDog\n", r"does not list the class folder dog .*\(it lists Dog: names are case-sensitive\)"),
}


@pytest.mark.parametrize("what", LISTS)
def test_lists_that_are_refused(tmp_path: Path, what: str, note_fault: Callable[..., None]) -> None:
    content, message = LISTS[what]
    with pytest.raises(InputError, match=message) as caught:
        listed(photos(tmp_path, "cat", "dog"), content)
    assert "names.txt" in str(caught.value)
    note_fault(f"data set: list of classes {what}", str(caught.value))


def test_no_list_at_all(tmp_path: Path) -> None:
    photos(tmp_path, "cat")
    for name, message in (("none.txt", "No such file"), ("validation", "is not a regular file")):
        with pytest.raises(InputError, match=message):
            build(tmp_path, classes=str(tmp_path / name))


def test_folders_that_look_alike_are_refused(tmp_path: Path) -> None:
    photos(tmp_path, *(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="differ only in how accents are encoded"):
        build(tmp_path)


# What configs call a class


CLASSES = [("10", "ten"), ("2", "two"), ("n02012849", "crane"), ("n03126707", "crane, lifter"), (unicodedata.normalize("NFD", "été"), "x")]


def test_names_before_indices(caplog: pytest.LogCaptureFixture) -> None:
    assert [class_index(wanted, CLASSES, "key") for wanted in ("10", "two", "lifter", "n02012849", "été", 3, "4")] == [0, 1, 3, 2, 4, 3, 4]
    assert not caplog.records  # a text is no index where it is a name
    with caplog.at_level(logging.WARNING, "classlens"):
        assert class_index(2, CLASSES, "projection.classes") == 1
    assert "config key `projection.classes`: 2 is taken as the name of class 1, not as an index" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("crane", r"several classes \(n02012849, n03126707\)"),
        (5, "an index from 0"),
        (-1, "an index from 0"),
        ("cranes", "did you mean crane\\?"),
    ],
)
def test_classes_that_are_none_or_several(wanted: str | int, message: str) -> None:
    with pytest.raises(InputError, match=rf"`key`: {wanted!r} .*{message}"):
        class_index(wanted, CLASSES, "key")
