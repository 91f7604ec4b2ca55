"""Broken configs, images, archives and checkpoints by the thousand (`--inputs`): a result or one line, never a traceback."""

import argparse
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from conftest import REPOSITORY, small_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from classlens.archive.adoption import adopt
from classlens.config import reading as configs
from classlens.config.plan import Plan
from classlens.data import images
from classlens.data.class_order import ClassOrder, normal
from classlens.data.dataset_classes import class_ids
from classlens.data.layouts import Dataset
from classlens.errors import InputError, printable
from classlens.models import checkpoints, labels, loading
from classlens.models.hub import Architecture

pytestmark = pytest.mark.slow

ANSWER = "a result, or what is wrong in one line; never a traceback"
VALID = [
    small_config(),
    yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text(encoding="utf-8")),
    small_config(datasets={"d": {"kind": "imagefolder", "root": "images"}}, relevance={"images": {"a.jpg": [1, "x"]}}),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "..", "/", "{x}", "$NONE", "~/x", "a\n"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
)


def many(pytestconfig: pytest.Config) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=pytestconfig.getoption("inputs"), database=None, derandomize=True, suppress_health_check=checks)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a config, its own first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@st.composite
def changed_configs(draw: st.DrawFn) -> Any:
    """A valid config of which some values are replaced, left out or joined by others."""
    config = deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places(config) if place] or [("run",)]))
        target = config
        for key in way:
            target = target[key]
        what = draw(st.sampled_from(["replace", "add", "remove"]))
        if what == "remove" and isinstance(target, dict):
            del target[last]
        elif what == "add" and isinstance(target, dict):
            target[draw(st.text(max_size=8) | st.integers() | st.sampled_from(["seed", "root", "masks", "weights", "kwargs"]))] = draw(
                VALUES
            )
        else:
            target[last] = draw(VALUES)
    return config


def one_line(error: InputError) -> None:
    """Whoever prints it, it is one line."""
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) > 10


def test_configs(pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note_fault: Callable[..., None]) -> None:
    monkeypatch.chdir(tmp_path)

    @many(pytestconfig)
    @given(changed_configs())
    def plan(config: Any) -> None:
        try:
            resolved = configs.resolve(config)
        except InputError as error:
            one_line(error)
            return
        try:
            Plan(resolved, f"results/{resolved.run}")
        except InputError as error:  # all that is missing, each in a line of its own
            for line in str(error).split("\n"):
                one_line(InputError(line))

    plan()
    note_fault("random changes of a config", ANSWER, times=pytestconfig.getoption("inputs"))


def test_config_files(pytestconfig: pytest.Config, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    path = tmp_path / "config.yaml"
    valid = st.sampled_from([yaml.safe_dump(config) for config in VALID] + [json.dumps(config) for config in VALID])

    @many(pytestconfig)
    @given(st.binary(max_size=64) | damaged(valid.map(str.encode)))
    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            configs.read(path)
        except InputError as error:
            one_line(error)

    read()
    note_fault("random bytes in a config file that `make estimate` or `publish` reads", ANSWER, times=pytestconfig.getoption("inputs"))


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Contents of which some bytes are changed, left out or inserted, or the end is cut off."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content)))
        what = draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if what == "cut":
            del content[place:]
        elif what == "remove":
            del content[place : place + draw(st.integers(1, 16))]
        elif what == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif place < len(content):
            content[place] = draw(st.integers(0, 255))
    return bytes(content)


def encoded() -> list[bytes]:
    """A small image in every format that data sets may have."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    moved = picture.copy()
    moved.getexif()[0x0112] = 6  # stored on its side
    files = []
    for kind, mode, image in [
        *((kind, mode, picture) for kind in ("PNG", "GIF", "TIFF", "BMP", "WEBP") for mode in ("L", "P", "RGB", "RGBA")),
        *(("JPEG", mode, picture) for mode in ("L", "RGB", "CMYK")),
        ("JPEG", "RGB", moved),
        ("PNG", "I;16", Image.fromarray(np.full((9, 7), 40000, np.uint16))),
    ]:
        if (kind, mode) in (("BMP", "RGBA"), ("GIF", "RGBA")):
            continue
        file = io.BytesIO()
        (image if mode == "I;16" else image.convert(mode)).save(file, kind, exif=image.getexif())
        files.append(file.getvalue())
    return files


def encoded_masks() -> list[bytes]:
    """A mask of part of a small image in every mode, with alpha, keys and palettes."""
    grey = Image.fromarray(np.pad(np.full((4, 3), 255, np.uint8), ((0, 5), (4, 0))))
    pictures = {mode: grey.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    pictures["I;16"] = Image.fromarray(np.asarray(grey).astype(np.uint16))
    kinds = [(kind, mode) for kind in ("PNG", "TIFF") for mode in pictures] + [("BMP", "P"), ("PPM", "1"), ("GIF", "P")]
    keys = {(kind, mode): {"transparency": 0} for kind, mode in (("PNG", "L"), ("PNG", "P"), ("GIF", "P"))}
    files = []
    for (kind, mode), options in [*((kind, {}) for kind in kinds), *keys.items()]:
        file = io.BytesIO()
        pictures[mode].save(file, kind, **options)
        files.append(file.getvalue())
    return files


def test_masks(pytestconfig: pytest.Config, note_fault: Callable[..., None]) -> None:
    path = Path("mask.png")

    @many(pytestconfig)
    @given(st.binary(max_size=64) | damaged(st.sampled_from(encoded_masks() + encoded())), st.booleans())
    def read(content: bytes, binary: bool) -> None:
        try:
            ids = images.decode_mask(content, path, binary)
        except InputError as error:
            one_line(error)
            return
        assert ids.dtype == np.int32
        assert ids.shape == images.decode(content, path).size[::-1]
        assert set(np.unique(ids)) <= {0, 1} or not binary

    read()
    note_fault("random bytes in a mask of any kind", ANSWER, times=pytestconfig.getoption("inputs"))


NAMES = ["cat", "été", "dog 2", "e\u0301te\u0301", "a\u2028b"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"]


def written(lines: st.SearchStrategy[list[str]]) -> st.SearchStrategy[bytes]:
    """Lines as some editor on some system may write them."""
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    return st.builds(lambda lines, end, encoding: end.join(lines).encode(encoding, "replace"), lines, ends, st.sampled_from(ENCODINGS))


def test_lists_of_classes(pytestconfig: pytest.Config, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    for name in NAMES[:3]:
        (tmp_path / "validation" / name).mkdir(parents=True)
    file = tmp_path / "names.txt"
    dataset = Dataset("imagefolder", tmp_path, classes=str(file))
    valid = written(st.lists(st.sampled_from(NAMES) | st.text(max_size=4), max_size=6) | st.permutations(NAMES[:3]))

    @many(pytestconfig)
    @given(st.binary(max_size=64) | valid | damaged(valid))
    def read(content: bytes) -> None:
        file.write_bytes(content)
        try:
            ids = class_ids(dataset, "validation")
        except InputError as error:
            one_line(InputError(printable(str(error))))
            return
        assert set(NAMES[:3]) <= set(ids)
        assert len({normal(name) for name in ids}) == len(ids)

    read()
    note_fault("random bytes in a list of classes, in any encoding", ANSWER, times=pytestconfig.getoption("inputs"))


def test_lists_of_imagenet_s(pytestconfig: pytest.Config, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    ids = ["n01440764", "n01443537"]
    home = tmp_path / "ImageNetS2"
    for class_id in ids:
        (home / "validation" / class_id).mkdir(parents=True)
    info, categories = home / "validation_stim_info.csv", tmp_path / "data" / "categories" / "ImageNetS_categories_im2.txt"
    categories.parent.mkdir(parents=True)
    dataset = Dataset("imagenet_s", tmp_path, subset=2)
    rows = written(st.just(["imagenet_id,img_name", f"{ids[0]},a.JPEG", f'{ids[1]},"b.JPEG"', ""]))

    @many(pytestconfig)
    @given(st.binary(max_size=64) | rows | damaged(rows), st.binary(max_size=64) | written(st.permutations(ids)))
    def read(listed: bytes, categorized: bytes) -> None:
        info.write_bytes(listed)
        categories.write_bytes(categorized)
        analysed = partial(dataset.images, "validation", None)
        for ids_of in (lambda: [image.class_id for image in analysed()], partial(dataset.category_ids, "validation")):
            try:
                found = ids_of()
            except InputError as error:
                one_line(InputError(printable(str(error))))
                continue
            assert len(found) <= 2

    read()
    note_fault("random bytes in the lists of ImageNet-S", ANSWER, times=pytestconfig.getoption("inputs"))


def test_images(pytestconfig: pytest.Config, note_fault: Callable[..., None]) -> None:
    path = Path("image")

    @many(pytestconfig)
    @given(st.binary(max_size=64) | damaged(st.sampled_from(encoded())))
    def read(content: bytes) -> None:
        try:
            image = images.decode(content, path)
        except InputError as error:
            one_line(error)
            return
        assert images.to_rgb(image).mode == "RGB"

    read()
    note_fault("random bytes in an image of any format", ANSWER, times=pytestconfig.getoption("inputs"))


KINDS = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
MEMBERS = [
    "../evil",
    "/tmp/evil",
    "tables/../../evil",
    "explorer/index.html",
    "published.json",
    "",
    ".",
    "x" * 300,
    "\udcff",
    "config.yaml",
]


@st.composite
def changed_archives(draw: st.DrawFn, parts: archives.Members) -> bytes:
    """A valid archive of which the manifest, members or bytes are changed."""
    parts = [(deepcopy(member), content) for member, content in parts]
    what = draw(st.sampled_from(["manifest", "members", "bytes", "manifest and members"]))
    if "manifest" in what:
        parts = [archives.member("published.json", draw(changed_manifests(parts[0][1]))), *parts[1:]]
    for _ in range(draw(st.integers(1, 3)) if "members" in what else 0):
        index, other = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        member, content = parts[index]
        change = draw(st.sampled_from(["swap", "repeat", "remove", "rename", "kind", "size", "content", "header"]))
        if change == "swap":
            parts[index], parts[other] = parts[other], parts[index]
        elif change == "repeat":
            parts.insert(other, parts[index])
        elif change == "remove" and len(parts) > 1:
            del parts[index]
        elif change == "rename":
            member.name = draw(st.sampled_from([*MEMBERS, parts[other][0].name]) | st.text(max_size=8))
        elif change == "kind":
            member.type, member.linkname = draw(st.sampled_from(KINDS)), draw(st.sampled_from(["", "/etc/passwd", *MEMBERS[:3]]))
        elif change == "header":
            member.pax_headers = draw(
                st.dictionaries(st.sampled_from(["path", "size", "GNU.sparse.map", "x"]), st.text(max_size=9), max_size=2)
            )
        else:
            content = draw(st.binary(max_size=9)) if change == "content" else content
            size = draw(st.integers(0, 3) | st.sampled_from([8**11 - 1, 8**11, 2**62]))
            member.size, parts[index] = len(content) if change == "content" else size, (member, content)
    file = io.BytesIO()
    for member, content in parts:  # as it stands, whatever its header says of its size
        file.write(member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape") + content + bytes(-len(content) % 512))
    file.write(bytes(draw(st.sampled_from([0, 512, 1024, -file.tell() % 10240]))))
    return draw(damaged(st.just(file.getvalue()))) if what == "bytes" else file.getvalue()


@st.composite
def changed_manifests(draw: st.DrawFn, content: bytes) -> bytes:
    """A manifest of which some values are replaced, left out or joined by others, or some bytes are changed."""
    manifest = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places(manifest) if place]))
        target = manifest
        for key in way:
            target = target[key]
        what = draw(st.sampled_from(["replace", "add", "remove"]))
        if what == "remove":
            del target[last]
        elif what == "add" and isinstance(target, dict):
            target[draw(st.sampled_from(MEMBERS) | st.text(max_size=8))] = draw(VALUES)
        else:
            target[last] = draw(VALUES | st.sampled_from([10**12, -1, "$HOME", "../x", "a\n"]))
    text = json.dumps(manifest).encode()
    return draw(damaged(st.just(text))) if draw(st.booleans()) else text


def test_archives(pytestconfig: pytest.Config, tmp_path: Path, note_fault: Callable[..., None]) -> None:
    original = archives.publish(tmp_path / "publisher")
    valid, home = archives.members(original), tmp_path / "adopter" / "results"
    path = tmp_path / "archive.tar"
    contents = {member.name: content for member, content in valid}

    @many(pytestconfig)
    @given(changed_archives(valid) | st.binary(max_size=64) | damaged(st.just(original.read_bytes())))
    def take(content: bytes) -> None:
        path.write_bytes(content)
        try:
            folder = adopt(path, home)
        except InputError as error:
            one_line(error)
            assert list(home.iterdir()) == []
        else:
            found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if not file.is_dir()}
            assert found.keys() == contents.keys()
            assert all(found[name] == contents[name] for name in contents.keys() - {"published.json", "config.yaml"})
            shutil.rmtree(folder)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["adopter", "archive.tar", "publisher"]
        assert [entry.name for entry in home.parent.iterdir()] == ["results"]

    take()
    note_fault("random changes of an archive for `make adopt`", ANSWER, times=pytestconfig.getoption("inputs"))


TINY = {"img_size": 32, "embed_dim": 4, "num_heads": 1, "depth": 1}
CLASSES = [("cat", "cat"), ("dog", "dog"), ("1", "1")]
MODEL = loading.build("vit_tiny_patch16_224", TINY, 3)
STATE = {key: value.clone() for key, value in MODEL.state_dict().items()}
SURPRISING = ("head", "model.head.weight", "encoder.layer.0.attention.x", "a\nb", "\ud800", "")
PARAMETERS = st.sampled_from([*STATE, *SURPRISING]) | st.text(max_size=6)
PLACES = st.sampled_from([*labels.PLACES, *checkpoints.NESTS, "ema", "optimizer"])
LABELS = st.sampled_from([*labels.ROWS, *labels.BY_NAME, *labels.BY_ROW, "label_descriptions"])
LABEL = st.sampled_from(["cat", "dog", "1", "n01440764", "LABEL_0", "\x1b[2J"]) | SCALARS
SAID = st.lists(LABEL, max_size=4) | st.dictionaries(LABEL.filter(lambda key: isinstance(key, str | int)), LABEL, max_size=4) | VALUES
CHANGES: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda value: value.to(torch.float16),
    lambda value: value.to(torch.int64),
    lambda value: value > 0,
    lambda value: value.to(torch.complex64),
    lambda value: value.to(torch.float8_e4m3fn),
    lambda value: value.to("meta"),
    lambda value: value.to_sparse(),
    lambda value: value * torch.nan,
    lambda value: value[:1],
    lambda value: value[None],
    lambda value: value.flatten()[0],
    lambda value: value.new_zeros(0),
]


@st.composite
def contents(draw: st.DrawFn) -> dict[Any, Any]:
    """What a training program might save: a model's parameters, some changed or left out, in nests and beside settings and labels."""
    state: dict[Any, Any] = dict(STATE)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from([key for key in state if isinstance(key, str) and isinstance(state[key], torch.Tensor)] or ["x"]))
        what = draw(st.sampled_from(["change", "remove", "rename", "add"]))
        value = state.pop(key, torch.zeros(2)) if what != "add" else torch.zeros(3)
        if what == "change":
            state[key] = draw(st.sampled_from(CHANGES))(STATE.get(key, torch.zeros(2)))
        elif what != "remove":
            state[draw(PARAMETERS)] = value
    prefix = draw(st.sampled_from(["", "", "", "module.", "_orig_mod."]))
    content: dict[Any, Any] = {prefix + key: value for key, value in state.items()}
    for _ in range(draw(st.integers(0, 3))):
        inner = {draw(LABELS): draw(SAID)} | ({draw(st.sampled_from(checkpoints.NESTS)): content} if draw(st.booleans()) else content)
        content = inner | {draw(PLACES): argparse.Namespace(**{draw(LABELS): draw(SAID)}) if draw(st.booleans()) else draw(VALUES)}
    return content


class Harmful:
    """A pickle of it touches a file when it is read by a program that executes what is in a file."""

    touched = Path("/tmp/classlens-fuzz-was-harmed")

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.touched,)


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def plain(content: dict[Any, Any]) -> bytes:
    """The tensors at the top, as safetensors, with labels in the metadata."""
    tensors = {key: value.contiguous() for key, value in content.items() if isinstance(value, torch.Tensor) and not value.is_meta
               and value.layout == torch.strided and key.isprintable()}  # fmt: skip
    said = {key: json.dumps(value, default=str) for key, value in content.items() if key not in tensors and key.isprintable()}
    return safetensors.torch.save(tensors, said)


VALID_FILES = [saved(STATE), saved({"state_dict": STATE, "args": argparse.Namespace(classes=["cat"])}), safetensors.torch.save(STATE)]
HARMFUL = [saved({"state_dict": STATE, "x": Harmful()}), pickle.dumps(Harmful()), pickle.dumps({"state_dict": [Harmful()]}, protocol=0)]
FILES = {
    "what a training program might save": contents().map(saved),
    "tensors with labels": contents().map(plain),
    "random bytes in a checkpoint": st.binary(max_size=64) | damaged(st.sampled_from(VALID_FILES + HARMFUL)),
    "programs in a checkpoint": st.sampled_from(HARMFUL) | VALUES.map(pickle.dumps),
}


@pytest.mark.parametrize("kind", FILES)
def test_checkpoints(pytestconfig: pytest.Config, tmp_path: Path, note_fault: Callable[..., None], kind: str) -> None:
    @many(pytestconfig)
    @given(FILES[kind], st.sampled_from(["", "", "module."]), st.booleans(), st.booleans())
    def read(content: bytes, prefix: str, settled: bool, misnamed: bool) -> None:
        path = tmp_path / ("weights.safetensors" if kind.startswith("tensors") or ("bytes" in kind and misnamed) else "weights.pt")
        path.write_bytes(content)
        order = ClassOrder("list") if settled else ClassOrder("natural", (0, "1", "cat"))
        try:
            checkpoint = checkpoints.read(path)
            weights = checkpoints.without_prefix(checkpoint.weights, str(path), prefix)
            checkpoints.load(MODEL, weights, str(path), ["optimizer*"])
            labels.reorder_head(MODEL, labels.of_model(Architecture("x"), checkpoint, False), CLASSES, order, "m")
        except InputError as error:
            one_line(error)
            return
        assert all(value.isfinite().all() for value in MODEL.state_dict().values())

    read()
    assert not Harmful.touched.exists()
    pickle.loads(HARMFUL[1])  # which it would have done
    Harmful.touched.unlink()
    note_fault(kind, ANSWER, times=pytestconfig.getoption("inputs"))
