"""Which files of a data set's folders are images, and what is said of those that are not."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import REPOSITORY, small_config
from PIL import Image

from classlens.analyses.relevance_maps import resolve_classes
from classlens.config import reading as configs
from classlens.config.plan import Plan
from classlens.data import images, manifest
from classlens.data.layouts import Dataset
from classlens.data.listing import IMAGE_SUFFIXES
from classlens.errors import InputError
from classlens.report import run_facts
from classlens.storage import parquet
from classlens.storage.fingerprints import Fingerprints

KINDS = {".jpg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".jp2": "JPEG2000", ".j2k": "JPEG2000"}
KINDS |= {".jpx": "JPEG2000", ".pbm": "PPM", ".pgm": "PPM", ".pnm": "PPM", "": "JPEG"}


def photo(path: Path, value: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    kind = KINDS.get(suffix, suffix[1:].upper())
    picture = Image.new("RGB", (8, 6), (value, value, value))
    (picture.convert({".pbm": "1", ".pgm": "L"}.get(suffix, "RGB"))).save(path, kind)
    return path


def build(root: Path, **options: Any) -> pa.Table:
    return manifest.build(Dataset("imagefolder", root, **options), "validation", None, shard_size=9, threads=1)


def paths(table: pa.Table) -> list[str]:
    return [path.removeprefix("validation/") for path in table["path"].to_pylist()]


def left_out(table: pa.Table) -> list[list[Any]]:
    return json.loads(table.schema.metadata[b"left_out"])


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_ending_is_read(tmp_path: Path, suffix: str) -> None:
    photo(tmp_path / "validation" / "cat" / f"a{suffix.upper()}")
    (row,) = build(tmp_path).to_pylist()
    assert (row["width"], row["height"]) == (8, 6)
    assert images.read_image(row, tmp_path).size == (8, 6)


def test_files_of_all_kinds_are_used_or_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "validation" / "cat"
    names = [f"{i}.JPEG" for i in range(6)] + [f"{i}.ppm" for i in range(6, 9)] + [f"{i}.jfif" for i in range(9, 13)]
    for name in [*names, *(f"sub/{i}.jpg" for i in range(4)), "13", "14"]:
        photo(home / name)
    for name in ("notes.txt", ".hidden.jpg", ".DS_Store", ".thumbnails/0.jpg"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
    photo(tmp_path / "validation" / "loose.jpg")
    with caplog.at_level(logging.INFO, "classlens"):
        table = build(tmp_path)
    assert sorted(paths(table)) == sorted(f"cat/{name}" for name in [*names, *(f"sub/{i}.jpg" for i in range(4))])
    expected = [
        [2, "without an ending", "cat/13"],
        [1, ".txt", "cat/notes.txt"],
        [1, "a hidden folder", "cat/.thumbnails"],
        [1, "beside the class folders", "loose.jpg"],
        [1, "hidden", "cat/.hidden.jpg"],
    ]
    assert left_out(table) == expected
    assert "left out: 2 without an ending, such as cat/13" in caplog.text
    path = tmp_path / "results" / "data" / "photos" / "validation" / "manifest.parquet"
    parquet.write_table(path, table, {})
    assert list(run_facts.left_out([path], [], [])) == [
        "files of photos, validation: 2 without an ending (cat/13), 1 .txt (cat/notes.txt), 1 a hidden folder (cat/.thumbnails), "
        "1 beside the class folders (loose.jpg), 1 hidden (cat/.hidden.jpg)"
    ]


def test_nested_folders_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("cat/b/1.png", "cat/a.png", "cat/b/c/0.png", "cat/z.png", "dog/images/0.JPEG"):
        photo(tmp_path / "validation" / name)
    assert paths(build(tmp_path)) == ["cat/a.png", "cat/b/1.png", "cat/b/c/0.png", "cat/z.png", "dog/images/0.JPEG"]
    masks = tmp_path / "masks" / "validation"
    for path in paths(build(tmp_path)):
        (masks / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 6), 1).save((masks / path).with_suffix(".png"))
    rows = build(tmp_path, masks=tmp_path / "masks").to_pylist()
    assert rows[2]["mask_path"] == "masks/validation/cat/b/c/0.png"


def test_imagenet_s_stays_flat(tmp_path: Path) -> None:
    home = tmp_path / "ImageNetS50" / "validation" / "n01440764"
    photo(home / "0.JPEG")
    photo(home / "aa.jpg" / "1.JPEG")
    dataset = Dataset("imagenet_s", tmp_path, subset=50)
    assert [Path(image.path).name for image in dataset.images("validation", None)] == ["0.JPEG"]
    assert dataset.left_out("validation") == [(1, "a folder", "n01440764/aa.jpg")]


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def name_in_latin_1(path: Path) -> None:
    photo(path)
    path.rename(path.with_name(os.fsdecode("\xe9.jpg".encode("latin-1"))))


NO_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to itself": (link_to_itself, "a link that leads nowhere"),
    "a dangling link": (dangling, "a link that leads nowhere"),
    "a pipe": (os.mkfifo, "not a regular file"),
    "a socket": (make_socket, "not a regular file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a name in latin-1": (name_in_latin_1, "not named in UTF-8"),
}


@pytest.mark.parametrize("what", NO_IMAGES)
def test_what_only_looks_like_an_image(tmp_path: Path, what: str, note_fault: Callable[..., None]) -> None:
    make, why = NO_IMAGES[what]
    photo(tmp_path / "validation" / "cat" / "0.jpg")
    make(tmp_path / "validation" / "cat" / "x.jpg")
    with pytest.raises(InputError, match=f"is {why}: replace it, or set on_bad_image: skip") as caught:
        build(tmp_path)
    note_fault(f"data set: {what} in place of an image", str(caught.value).encode(errors="backslashreplace").decode())
    table = build(tmp_path, skip=True)
    assert paths(table) == ["cat/0.jpg"]
    assert [item[:2] for item in left_out(table)] == [[1, why]]


def test_planning_and_jobs_do_not_wait_for_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe is not a regular file"):
        images.read_bytes(pipe)
    (tmp_path / "loop").symlink_to("loop")
    assert Fingerprints().of([pipe, tmp_path / "loop", tmp_path]) == [None] * 3


def test_a_name_that_is_not_utf_8_is_one_line_of_a_program(tmp_path: Path) -> None:
    photo(tmp_path / "validation" / "cat" / "0.jpg")
    name_in_latin_1(tmp_path / "validation" / "cat" / "x.jpg")
    command = [sys.executable, REPOSITORY / "workflow/scripts/manifest.py", "--kind", "imagefolder", "--root", tmp_path]
    command += ["--split", "validation", "--manifest", tmp_path / "m.parquet", "--log", tmp_path / "log.txt"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert r"cat/\udce9.jpg is not named in UTF-8" in done.stderr


def link_to_folder_above(home: Path) -> None:
    (home / "cat" / "all").symlink_to("..")


def class_in_latin_1(home: Path) -> None:
    (home / "cat").rename(home / os.fsdecode("\xe9".encode("latin-1")))


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class folder that is a link to itself": (lambda home: link_to_itself(home / "dog"), "dog is a link that leads nowhere"),
    "a class folder that is a dangling link": (lambda home: dangling(home / "dog"), "dog is a link that leads nowhere"),
    "a nested folder that is a dangling link": (lambda home: dangling(home / "cat" / "sub"), "sub is a link that leads nowhere"),
    "a link to a folder above": (link_to_folder_above, "is a link to a folder above it"),
    "a class folder named in latin-1": (class_in_latin_1, "is not named in UTF-8: rename it"),
    "a split that is a file": (lambda home: (shutil.rmtree(home), home.touch()), "validation is not a folder"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_are_refused(tmp_path: Path, what: str, note_fault: Callable[..., None]) -> None:
    spoil, message = FOLDERS[what]
    photo(tmp_path / "validation" / "cat" / "0.jpg")
    spoil(tmp_path / "validation")
    with pytest.raises(InputError, match=message) as caught:
        build(tmp_path)
    note_fault(f"data set: {what}", str(caught.value).encode(errors="backslashreplace").decode())


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "validation" / "cat" / "0.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "cat":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # permissions do not stop root, who may run the tests
    with pytest.raises(InputError, match=r"folder \S+/cat cannot be read \(Permission denied\)"):
        build(tmp_path)


def test_names_with_line_breaks(tmp_path: Path) -> None:
    photo(tmp_path / "validation" / "a\ncat" / "0\n1.jpg")
    assert paths(build(tmp_path)) == ["a\ncat/0\n1.jpg"]


def test_links_to_images_and_folders_are_followed(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere" / "0.jpg")
    home = tmp_path / "validation" / "cat"
    home.mkdir(parents=True)
    (home / "1.jpg").symlink_to(tmp_path / "elsewhere" / "0.jpg")
    (home / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "validation" / "dog").symlink_to(tmp_path / "elsewhere")
    assert paths(build(tmp_path)) == ["cat/1.jpg", "cat/more/0.jpg", "dog/0.jpg"]


def test_nested_images_make_manifests_stale(tmp_path: Path) -> None:
    path = photo(tmp_path / "validation" / "cat" / "in" / "0.png")
    config = small_config(analyses=["identifiability"])
    config["datasets"] = {"d": {"kind": "imagefolder", "root": str(tmp_path), "images_per_class": None}}

    def settings() -> Any:
        dataset = Plan(configs.resolve(config), "results/small").datasets["d"]
        return dataset.manifest_step("validation"), dataset.manifest_content("validation")

    before = settings()
    photo(path, 10)
    changed = settings()
    photo(path.with_name("1.png"))
    assert len({str(item) for item in (before, changed, settings())}) == 3


def test_images_whose_brightness_is_a_guess(tmp_path: Path) -> None:
    home = tmp_path / "validation" / "cat"
    home.mkdir(parents=True)
    for pixels, message in (
        (np.full((4, 4), 0.5, np.float32), "holds floating-point pixels"),
        (np.full((4, 4), 10**6, np.int32), "values outside"),
    ):
        Image.fromarray(pixels).save(home / "0.tif")
        with pytest.raises(InputError, match=message):
            build(tmp_path)
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(home / "0.tif")
    (row,) = build(tmp_path).to_pylist()
    assert images.read_image(row, tmp_path).getpixel((0, 0)) == (156, 156, 156)


def test_no_image_runs_a_program(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file's name is."""
    path = tmp_path / "validation" / "cat" / "0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n")
    assert Image.open(path).format == "EPS"
    with pytest.raises(InputError, match="no known image format"):
        build(tmp_path)


# Images that a config names


def test_an_image_is_named_by_enough_of_its_path() -> None:
    table = pa.table({"path": ["v/cat/0.JPEG", "v/dog/0.JPEG", "0.JPEG", "v/dog/é.png"], "image_id": [4, 5, 6, 7]})
    classes = [("cat", "cat"), ("dog", "dog"), ("2", "2")]
    assert resolve_classes({"0.JPEG": [2], "cat/0.JPEG": ["dog"], "v/cat/0.JPEG": [0], "e\u0301.png": [1]}, table, classes) == {
        6: [2],
        4: [1, 0],
        7: [1],
    }
    with pytest.raises(InputError, match=r"'0.JPEG' matches 2 images \(v/cat/0.JPEG, v/dog/0.JPEG\): give more of the path"):
        resolve_classes({"0.JPEG": [2]}, table.slice(0, 2), classes)


# Lists of ImageNet-S


def with_list(root: Path, content: bytes) -> list[str]:
    home = root / "ImageNetS50"
    for name in ("n01440764/a.JPEG", "n01440764/b.JPEG"):
        photo(home / "validation" / name)
    (home / "validation_stim_info.csv").write_bytes(content)
    return [Path(image.path).name for image in Dataset("imagenet_s", root, subset=50).images("validation", None)]


ROWS = "imagenet_id,img_name\nn01440764,b.JPEG\nn01440764,a.JPEG\n"


@pytest.mark.parametrize("content", [ROWS.encode("utf-8-sig"), ROWS.encode("utf-16"), ROWS.replace("\n", "\r\n").encode()])
def test_lists_of_images_of_any_editor(tmp_path: Path, content: bytes) -> None:
    assert with_list(tmp_path, content) == ["b.JPEG", "a.JPEG"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"imagenet_id,img_name\nn01440764,\xe9.JPEG\n", "is not in UTF-8"),
        (b"imagenet_id,img_name\nn01440764\n", "image 1 has no valid class folder"),
        (b"imagenet_id,img_name\nn01440764,../../../x.JPEG\n", "image 1 has no valid class folder"),
        (ROWS.encode() + b"n01440764,b.JPEG\n", "lists n01440764/b.JPEG twice"),
        (b'imagenet_id,img_name\nn01440764,"b.JPEG\n', "is not valid CSV"),
        (b"", "has no column imagenet_id"),
    ],
)
def test_damaged_lists_of_images(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"validation_stim_info.csv.* {message}"):
        with_list(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n01440764\xe9\n", "is not in UTF-8"),
        (b"n01440764\n", "lists 1 different classes on 1 lines, not 2"),
        (b"n01440764\nn01440764\n", "lists 1 different classes on 2 lines, not 2"),
    ],
)
def test_damaged_category_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "data" / "categories" / "ImageNetS_categories_im2.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"ImageNetS_categories_im2.txt {message}"):
        Dataset("imagenet_s", tmp_path, subset=2).category_ids("validation")
    file.write_bytes("n01440764\r\nn01443537\r\n".encode("utf-8-sig"))
    assert Dataset("imagenet_s", tmp_path, subset=2).category_ids("validation") == ["n01440764", "n01443537"]
