"""Data sets whose images are listed in tables: files, columns, labels, splits, stored images, boxes, and what makes results stale."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Run, planned, small_config
from PIL import Image

from classlens.config.plan import Plan
from classlens.config.reading import resolve
from classlens.data import manifest
from classlens.data.table_layout import TableDataset
from classlens.data.tables import Columns, Tables
from classlens.data.unpacking import unpack
from classlens.errors import InputError

SIZE = (12, 10)
RNG = np.random.default_rng(0)
STORED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)).save(path)
    return path


def photos(folder: Path, number: int = 4, ending: str = ".png") -> list[Path]:
    return [photo(folder / f"{i}{ending}") for i in range(number)]


def encoded(form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)).save(file, form)
    return file.getvalue()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def table(place: Path, columns: Columns | None = None, images: Path | None = None, **options: Any) -> TableDataset:
    tables = Tables(place, columns or Columns(), with_boxes=options.pop("with_boxes", False))
    return TableDataset(kind="table", tables=tables, root=images or tables.folder, **options)


def rows(dataset: TableDataset, split: str = "all", per_class: int | None = None) -> list[dict[str, Any]]:
    return manifest.build(dataset, split, per_class, shard_size=4, threads=1).to_pylist()


def seen(dataset: TableDataset, split: str = "all") -> list[tuple[str, int, str]]:
    return [(row["path"], row["class_index"], row["class_name"]) for row in rows(dataset, split)]


def hugging_face(path: Path, labels: list[int], names: list[str] | None = None, **columns: Any) -> Path:
    """A shard as Hugging Face writes it."""
    images = pa.array([{"bytes": encoded(), "path": f"{i}.png"} for i in range(len(labels))], STORED)
    label = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "labels": label}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    found = pa.table({"image": images, "labels": pa.array(labels, pa.int64()), **columns})
    pq.write_table(found.replace_schema_metadata({"huggingface": json.dumps(info)}), path)
    return path


def planned_table(root: Path, **settings: Any) -> Plan:
    data = {"kind": "table", "root": str(root), "images_per_class": None, **settings}
    return Plan(resolve(small_config(datasets={"d": data})), "results/small")


# Files and their columns


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file_name,label\n0.png,cat\n1.png,dog\n"),
        ("labels.csv", '\ufeff"Image","Class"\r\n"0.png","cat"\r\n"1.png","dog"\r\n'),
        ("labels.csv", "path;category;note\n0.png;cat;a\n1.png;dog;b\n"),
        ("labels.tsv", "img path\tclass name\n0.png\tcat\n1.png\tdog\n"),
        ("labels.csv", "id,breed\n0,cat\n1,dog\n"),
        ("labels.jsonl", '{"image": "0.png", "target": "cat"}\n{"image": "1.png", "target": "dog"}\n'),
        ("labels.json", '[{"image": "0.png", "target": "cat"}, {"image": "1.png", "target": "dog"}]'),
    ],
)
def test_tables_of_all_forms_are_read(tmp_path: Path, name: str, text: str) -> None:
    photos(tmp_path)
    assert seen(table(write(tmp_path / name, text))) == [("0.png", 0, "cat"), ("1.png", 1, "dog")]


@pytest.mark.parametrize("text", ["# image class\n0 2 x\n1 1 y\n", "0.png\t2\tx\n1.png\t1\ty\n"])
def test_a_text_file_without_a_header(tmp_path: Path, text: str) -> None:
    photos(tmp_path / "images")
    dataset = table(write(tmp_path / "list.txt", text), Columns(image=0, label=1), tmp_path / "images")
    assert seen(dataset) == [("0.png", 1, "2"), ("1.png", 0, "1")]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("file,path,label\n0.png,0.png,a\n", Columns(), r"several columns that may be the image \(file, path\): set `columns.image`"),
        ("file,class,label\n0.png,0,a\n", Columns(), r"several columns that may be the label \(class, label\): set `columns.label`"),
        ("photo,label\n0.png,a\n", Columns(), r"no column of usual name for `image` \(it has photo, label\)"),
        (
            "file,label\n0.png,a\n",
            Columns(image="photo"),
            r"no column photo \(it has file, label\): correct the .*`columns.image`",
        ),
        ("file,label\n0.png\n", Columns(), "row 1 has 1 fields and not 2"),
        ("file,file\n0.png,a\n", Columns(), "two columns of one name"),
        ("", Columns(), "is empty"),
        ('file,label\n"0.png,a\n', Columns(), "not valid CSV"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(tmp_path: Path, text: str, columns: Columns, message: str) -> None:
    photos(tmp_path)
    with pytest.raises(InputError, match=message):
        rows(table(write(tmp_path / "labels.csv", text), columns))


def test_named_columns(tmp_path: Path) -> None:
    photos(tmp_path)
    path = write(tmp_path / "labels.csv", "photo,label,bird\n0.png,7,owl\n1.png,7,auk\n")
    assert seen(table(path, Columns(image="photo", label="bird"))) == [("0.png", 1, "owl"), ("1.png", 0, "auk")]


# Labels


def test_integers_are_rows_of_the_head_in_numeric_order(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    dataset = table(write(tmp_path / "labels.csv", "file,label\n0.png,10\n1.png,2\n2.png,0\n"))
    found = manifest.build(dataset, "all", None, shard_size=4, threads=1)
    assert found["class_id"].to_pylist() == ["10", "2", "0"]
    assert found["class_index"].to_pylist() == [2, 1, 0]
    assert json.loads(found.schema.metadata[b"class_order"])["basis"] == "list"


def test_gaps_between_integers_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path, 2)
    with caplog.at_level(logging.WARNING, "classlens"):
        rows(table(write(tmp_path / "labels.csv", "file,label\n0.png,0\n1.png,5\n")))
    assert "labels are integers with gaps (1 is missing)" in caplog.text


def test_text_labels_have_the_order_of_folders(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    path = write(tmp_path / "labels.csv", "file,label\n0.png,c10\n1.png,c2\n2.png,a/b\n")
    assert [row[1] for row in seen(table(path))] == [2, 1, 0]
    assert [row[1] for row in seen(table(path, class_order="torchvision"))] == [1, 2, 0]
    order = write(tmp_path / "order.txt", "c2\nc10\nx\na_b\n")
    with pytest.raises(InputError, match="does not list"):
        seen(table(path, classes=str(order)))


BAD_LABELS = {
    "empty": ("", "1 of 2 rows are without a label, such as .*row 2"),
    "NaN": ("nan", "without a label"),
    "long": ("x" * 300, "too long or has control characters"),
    "control character": ("a\x1b[2J", "too long or has control characters"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_labels_that_cannot_be_classes(tmp_path: Path, kind: str, note_fault: Callable[..., None]) -> None:
    label, message = BAD_LABELS[kind]
    photos(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        rows(table(write(tmp_path / "labels.csv", f"file,label\n0.png,cat\n1.png,{label}\n")))
    note_fault(f"table: label, {kind}", str(caught.value))


@pytest.mark.parametrize("label", ["../../etc", "a/b", "..", "<script>alert(1)</script>", "$(touch x)", "été \U0001f600"])
def test_labels_become_no_paths(tmp_path: Path, label: str) -> None:
    path = hugging_face(tmp_path / "data" / "train.parquet", [0, 1], [label, "b"])
    dataset = table(path, images=tmp_path / "images", masks=None)
    unpack(dataset, "all", None, tmp_path / "images" / "all")
    assert {row["class_id"] for row in rows(dataset)} == {label, "b"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "images"]


# Rows and paths


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("9.png,a", r"1 of 2 rows are without an image file, such as .*row 2 \(9.png, looked for in .*`images` sets another folder"),
        ("0.png,a", "rows are listed twice"),
        ("0.png,b", "rows are of an image in several classes"),
        (",a", "without an image file"),
        ("../secret/0.png,a", "leads out of"),
        ("/dev/zero,a", "without an image file"),
    ],
)
def test_bad_rows_are_named_or_left_out(tmp_path: Path, second: str, message: str) -> None:
    photo(tmp_path / "secret" / "0.png")
    photos(tmp_path / "set")
    path = write(tmp_path / "set" / "labels.csv", f"file,label\n0.png,a\n{second}\n")
    with pytest.raises(InputError, match=message):
        rows(table(path))
    if "several" not in message and "leads" not in message:
        dataset = table(path, skip=True)
        assert [row["path"] for row in rows(dataset)] == ["0.png"]
        assert dataset.left_out("all")[0][0] == 1


def test_absolute_paths_and_the_folder_of_the_images(tmp_path: Path) -> None:
    inside, outside = photo(tmp_path / "set" / "a.png"), photo(tmp_path / "other" / "b.png")
    path = write(tmp_path / "set" / "labels.csv", f"file,label\n{inside},a\n{outside},b\n")
    assert [row["path"] for row in rows(table(path))] == ["a.png", str(outside)]
    path = write(tmp_path / "labels.csv", "file,label\nb,b\n")
    assert [row["path"] for row in rows(table(path, images=tmp_path / "other"))] == ["b.png"]
    photo(tmp_path / "other" / "b.jpg")
    with pytest.raises(InputError, match=r"has b\.jpg and b\.png, and a table lists b: write the ending"):
        rows(table(path, images=tmp_path / "other"))


def test_the_first_images_of_each_class(tmp_path: Path) -> None:
    photos(tmp_path, 5)
    path = write(tmp_path / "labels.csv", "file,label\n0.png,a\n1.png,b\n2.png,a\n3.png,a\n4.png,c\n")
    assert [row["path"] for row in rows(table(path), per_class=1)] == ["0.png", "1.png", "4.png"]
    with pytest.raises(InputError, match="lists 1 images of the class b in split all, but the config needs 2"):
        rows(table(path), per_class=2)
    assert [row["path"] for row in rows(table(path, skip=True), per_class=2)] == ["0.png", "2.png"]


# Splits


def test_splits_are_in_a_column_or_in_names_of_files(tmp_path: Path) -> None:
    photos(tmp_path / "one")
    path = write(tmp_path / "one" / "all.csv", "file,label,split\n0.png,a,train\n1.png,b,train\n2.png,a,val\n3.png,b,val\n")
    plan = planned_table(path).datasets["d"]
    assert (plan.eval_split, plan.train_split, plan.image_count("val")) == ("val", "train", 2)
    for split, names in (("train", ("0", "1")), ("test", ("0", "1"))):
        photos(tmp_path / "two" / split)
        write(tmp_path / "two" / split / "metadata.csv", "file_name,label\n" + "".join(f"{name}.png,{name}\n" for name in names))
    plan = planned_table(tmp_path / "two").datasets["d"]
    assert (plan.eval_split, plan.probe_split) == ("test", None)
    assert [row["path"] for row in rows(table(tmp_path / "two"), "test")] == ["test/0.png", "test/1.png"]


def test_shards_of_hugging_face(tmp_path: Path) -> None:
    names = ["cat", "dog", "unused"]
    for shard in range(2):
        hugging_face(tmp_path / "data" / f"validation-0000{shard}-of-00002.parquet", [0, 1], names)
    hugging_face(tmp_path / "data" / "test-00000-of-00001-a09b74b3ef9c3b56.parquet", [1, 0], names)
    plan = planned_table(tmp_path, probe_images_per_class=1).datasets["d"]
    assert (plan.eval_split, plan.probe_split, plan.num_classes, plan.is_stored) == ("validation", "test", 3, True)
    images = tmp_path / "images"
    dataset = table(tmp_path / "data", images=images)
    unpack(dataset, "validation", None, images / "validation")
    found = seen(dataset, "validation")
    assert found == [(f"validation/00000{i}.png", i % 2, names[i % 2]) for i in range(4)]
    content = pq.read_table(tmp_path / "data" / "validation-00001-of-00002.parquet")["image"][0]["bytes"].as_py()
    assert (images / "validation" / "000002.png").read_bytes() == content


def test_no_tables_and_too_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: set the data set's `root`"):
        rows(table(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="has no table"):
        rows(table(tmp_path))
    for name in ("a.csv", "b.csv"):
        write(tmp_path / name, "file,label\n")
    with pytest.raises(InputError, match=r"several tables \(a\.csv and b\.csv\)"):
        rows(table(tmp_path))
    write(tmp_path / "train.csv", "file,label\n")
    with pytest.raises(InputError, match="has no table of split validation, but of train: set the data set's `eval_split`"):
        planned_table(tmp_path)


def test_damaged_parquet_and_missing_bytes(tmp_path: Path) -> None:
    write(tmp_path / "bad.parquet", "no")
    with pytest.raises(InputError, match=r"bad\.parquet is not a Parquet file"):
        rows(table(tmp_path / "bad.parquet"))
    empty = pa.table({"image": pa.array([{"bytes": None, "path": "x.png"}], STORED), "label": ["a"]})
    pq.write_table(empty, tmp_path / "empty.parquet")
    dataset = table(tmp_path / "empty.parquet", images=tmp_path / "images")
    with pytest.raises(InputError, match="row 1 stores no bytes"):
        unpack(dataset, "all", None, tmp_path / "images" / "all")


def test_plain_bytes_and_labels_of_other_types(tmp_path: Path) -> None:
    found = pa.table({"image": pa.array([encoded(), encoded("JPEG")], pa.binary()), "label": pa.array([0.0, None])})
    pq.write_table(found, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="without a label"):
        table(tmp_path / "t.parquet").images("all", None)
    assert [image.class_id for image in table(tmp_path / "t.parquet", skip=True).images("all", None)] == ["0"]
    pq.write_table(pa.table({"image": [encoded()], "label": [[1, 2]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="a label is one text or integer"):
        table(tmp_path / "t.parquet").images("all", None)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"image": 0}}, "needs the positions of both `image` and `label`"),
        ({"columns": {"image": 0, "label": "x"}}, "mixes names and positions"),
        ({"columns": {"box": "box"}}, "`datasets.d.columns.box` needs `box_format`"),
        ({"box_format": "xywh", "masks": "m"}, "`datasets.d.box_format` makes masks from boxes"),
        ({"box_format": "cxcywh"}, "must be one of xywh, xyxy"),
        ({"kind": "imagefolder", "columns": {"image": "x"}}, "`datasets.d.columns` is for kind table only"),
        ({"kind": "imagefolder", "mask_ids": [1]}, "`datasets.d.mask_ids` needs the folder of the masks"),
        ({"kind": "imagenet_s", "names": "n.txt"}, "`datasets.d.names` is for kinds imagefolder and table only"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(small_config(datasets={"d": {"kind": "table", "root": "x", **settings}}))


# What makes results stale


def contents(root: Path, **settings: Any) -> dict[str, Any]:
    data = planned_table(root, **settings).datasets["d"]
    return {
        "manifest": [data.manifest_content(data.eval_split), data.manifest_step(data.eval_split)],
        "classes": [data.class_content(), data.class_step(data.eval_split)],
        "masks": [data.mask_content(data.eval_split), data.mask_step(data.eval_split)],
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_what_makes_a_manifest_stale(tmp_path: Path) -> None:
    home = tmp_path / "set"
    photos(home)
    path = write(home / "labels.csv", "file,label,note,box\n0.png,a,x,1 1 3 3\n1.png,b,x,1 1 3 3\n2.png,a,x,1 1 3 3\n")
    names, text = write(home / "names.txt", "a A\nb B\n"), path.read_text(encoding="utf-8")
    settings = {"names": str(names), "box_format": "xywh"}
    before = contents(path, **settings)
    path.write_text(text.replace(",x,", ",y,"), encoding="utf-8")  # a column that is not used
    assert changed(before, contents(path, **settings)) == set()
    path.write_text(text.replace("2.png,a", "2.png,b"), encoding="utf-8")
    assert changed(before, contents(path, **settings)) == {"manifest", "masks"}
    path.write_text(text + "3.png,a,x,1 1 3 3\n", encoding="utf-8")
    assert changed(before, contents(path, **settings)) == {"manifest", "masks"}
    path.write_text(text.replace("1 1 3 3", "1 1 4 4", 1), encoding="utf-8")
    assert changed(before, contents(path, **settings)) == {"manifest", "masks"}
    path.write_text(text.replace("1.png,b", "1.png,c"), encoding="utf-8")
    assert changed(before, contents(path, **settings)) == {"manifest", "masks", "classes"}
    path.write_text(text, encoding="utf-8")
    photo(home / "3.png")  # no row lists it
    assert changed(before, contents(path, **settings)) == set()
    names.write_text("a A\nb Bee\n", encoding="utf-8")
    assert changed(before, contents(path, **settings)) == {"manifest", "masks", "classes"}
    names.write_text("a A\nb B\n", encoding="utf-8")
    moved = home.rename(tmp_path / "moved")
    assert changed(before, contents(moved / "labels.csv", **{**settings, "names": str(moved / "names.txt")})) == set()


@pytest.mark.parametrize(
    ("setting", "value", "stale"),
    [
        ("columns", {"label": "other"}, {"manifest", "masks", "classes"}),
        ("box_format", "xyxy", {"masks"}),
        ("class_order", "torchvision", {"manifest", "masks", "classes"}),
        ("on_bad_image", "skip", {"manifest", "masks"}),
        ("mask_ignored", [3], {"masks"}),
    ],
)
def test_settings_that_make_results_stale(tmp_path: Path, setting: str, value: Any, stale: set[str]) -> None:
    photos(tmp_path)
    path = write(tmp_path / "labels.csv", "file,label,other,box\n0.png,a10,x,1 1 3 3\n1.png,a2,y,1 1 3 3\n2.png,a10,x,1 1 3 3\n")
    before = contents(path, box_format="xywh")
    assert changed(before, contents(path, **{"box_format": "xywh", setting: value})) == stale


def test_a_run_on_stored_images_and_masks(tmp_path: Path) -> None:
    run = Run(tmp_path / "a run")
    values = np.zeros(SIZE[::-1], np.uint8)
    values[2:8, 2:9], values[0] = 7, 255
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    masks = pa.array([{"bytes": file.getvalue(), "path": None}] * 4, STORED)
    path = hugging_face(tmp_path / "set" / "validation.parquet", [0, 1, 0, 1], ["../a <b>", "$(c)"], mask=masks)
    data = {"kind": "table", "root": str(path.parent), "images_per_class": None, "mask_ids": [7]}
    config = ["--configfile", str(run.configure(small_config(datasets={"d": data}, analyses=["identifiability", "context"])))]
    targets = ["results/small/tokens/m/d.parquet", "results/small/explorer/m"]
    run.complete(*targets, *config)
    made = pq.read_table(run.folder / "results/small/data/d/validation/manifest.parquet").to_pylist()
    assert [row["path"] for row in made] == [f"validation/00000{i}.png" for i in range(4)]
    assert [row["mask_fraction"] for row in made] == pytest.approx([42 / 120] * 4)
    assert {row["class_id"] for row in made} == {"../a <b>", "$(c)"}
    assert planned(run, *targets, *config) == set()
    moved = path.parent.rename(tmp_path / "moved")
    again = small_config(datasets={"d": {**data, "root": str(moved)}}, analyses=["identifiability", "context"])
    assert planned(run, *targets, "--configfile", str(run.configure(again, "moved.yaml"))) == set()
    hugging_face(moved / "validation.parquet", [0, 1, 1, 0], ["../a <b>", "$(c)"], mask=masks)
    stale = planned(run, *targets, "--configfile", str(run.folder / "moved.yaml"))
    assert {"unpack", "masks", "manifest"} <= stale and "model" not in stale and "classes" not in stale
