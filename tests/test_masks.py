"""Masks of every kind mark the same object, and what could be read in two ways is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import small_config
from PIL import Image

from classlens.analyses import tokens
from classlens.config import reading as configs
from classlens.config.plan import Plan
from classlens.data import manifest
from classlens.data.images import IGNORED_ID, decode_mask
from classlens.data.layouts import Dataset
from classlens.errors import InputError

SIDE = 10
OBJECT = np.zeros((SIDE, SIDE), bool)
OBJECT[2:6, 1:6] = OBJECT[7, 3:5] = True  # 22 of 100 pixels
SHARE = 0.22
RNG = np.random.default_rng(0)
NOISE = RNG.integers(1, 256, (SIDE, SIDE, 3), np.uint8)


def grey(inside: int = 255, outside: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.where(OBJECT, inside, outside).astype(dtype)


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colours, alpha]))


def palette(indices: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([value for colour in colours for value in colour])
    return image


def with_key(image: Image.Image, key: Any) -> Image.Image:
    """An image of which one value is transparent."""
    image.info["transparency"] = key
    return image


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)
# The five files of which the share was 1, 1, 0, 0 and 1, and others.
MASKS: dict[str, Image.Image] = {
    "RGBA cut-out": with_alpha(NOISE, grey()),
    "grey with alpha": with_alpha(NOISE[..., 0], grey()),
    "black with alpha": with_alpha(np.zeros_like(NOISE), grey()),
    "palette of black": palette(grey(1), BLACK, BLACK),
    "palette in which 0 is white": palette(grey(1), WHITE, RED),
    "soft edge": with_alpha(NOISE, grey(3)),
    "palette in which 0 is black": palette(grey(1), BLACK, RED),
    "palette of grey": Image.fromarray(grey(7)).convert("P"),
    "palette with a transparent entry": with_key(palette(grey(0, 1), RED, WHITE), b"\xff\x00"),
    "grey with a transparent value": with_key(Image.fromarray(grey(0, 9)), 9),
    "colour with a transparent value": with_key(Image.fromarray(np.where(OBJECT[..., None], RED, WHITE).astype(np.uint8)), WHITE),
    "one bit": Image.fromarray(grey()).convert("1"),
    "grey": Image.fromarray(grey(1)),
    "opaque": with_alpha(np.dstack([grey()] * 3), np.full((SIDE, SIDE), 255, np.uint8)),
    "opaque, not quite": with_alpha(np.dstack([grey()] * 3), grey(255, 200)),
    "colour": Image.fromarray(np.where(OBJECT[..., None], RED, BLACK).astype(np.uint8)),
    "16 bits": Image.fromarray(grey(1, 0, np.uint16)),
    "32 bits": Image.fromarray(grey(-1, 0, np.int32)),
}


def stored(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "TIFF" if image.mode == "I" else "PNG")
    return path


def photos(root: Path, *masks: Image.Image) -> Dataset:
    for number, mask in enumerate(masks):
        stored(Image.fromarray(NOISE), root / "validation" / "cat" / f"{number:02d}.png")
        stored(mask, root / "masks" / "validation" / "cat" / f"{number:02d}.png")
    return Dataset("imagefolder", root, masks=root / "masks")


def build(dataset: Dataset) -> pa.Table:
    return manifest.build(dataset, "validation", None, shard_size=99, threads=2)


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_every_kind_mark_the_object(tmp_path: Path, kind: str) -> None:
    dataset = photos(tmp_path, MASKS[kind])
    (row,) = build(dataset).to_pylist()
    assert row["mask_fraction"] == pytest.approx(SHARE)
    assert (tokens.read_mask(row, tmp_path, binary=True) == OBJECT).all()


def test_masks_of_everything_and_of_nothing_are_seen_in_the_manifest(tmp_path: Path) -> None:
    everything = with_alpha(NOISE, np.full((SIDE, SIDE), 255, np.uint8))
    table = build(photos(tmp_path, everything, Image.new("L", (SIDE, SIDE)), Image.fromarray(grey())))
    assert table["mask_fraction"].to_pylist() == pytest.approx([1, 0, SHARE])
    assert table.schema.field("mask_fraction").type == pa.float32()
    without = build(Dataset("imagefolder", tmp_path))
    assert without["mask_fraction"].null_count == without["mask_path"].null_count == 3


AMBIGUOUS = {
    "white and black the wrong way round": palette(grey(1), WHITE, BLACK),
    "black in the middle": palette(np.where(OBJECT, 2, 1).astype(np.uint8), RED, BLACK, WHITE),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_palettes_that_contradict_themselves_are_refused(tmp_path: Path, kind: str, note_fault: Callable[..., None]) -> None:
    with pytest.raises(InputError, match=r"mask \S+/00\.png has a palette in which index 0 is not black") as caught:
        build(photos(tmp_path, AMBIGUOUS[kind]))
    note_fault(f"data set: mask with a palette, {kind}", str(caught.value))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "AVIF"])
def test_formats_that_change_values_are_no_masks(tmp_path: Path, kind: str, note_fault: Callable[..., None]) -> None:
    dataset = photos(tmp_path, Image.fromarray(grey()))
    Image.fromarray(grey()).save(tmp_path / "masks" / "validation" / "cat" / "00.png", kind)
    with pytest.raises(
        InputError, match=rf"00\.png is a {kind} file, and this format changes pixel values: create the mask again as PNG"
    ) as caught:
        build(dataset)
    note_fault("data set: JPEG as a mask", str(caught.value))


# ImageNet-S: R + 256 G


def coded(ids: np.ndarray) -> np.ndarray:
    return np.dstack([ids % 256, ids // 256, np.zeros_like(ids)]).astype(np.uint8)


IDS = np.where(OBJECT, 300, 0)
IDS[0, :4] = IGNORED_ID


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P"])
def test_coded_masks_are_numbers_whatever_holds_them(tmp_path: Path, kind: str) -> None:
    image = Image.fromarray(coded(IDS))
    if kind == "RGBA":
        image.putalpha(Image.fromarray(grey(0, 255)))
    path = stored(image.quantize(8) if kind == "P" else image, tmp_path / "0.png")
    assert Image.open(path).mode == kind
    assert (decode_mask(path.read_bytes(), path, binary=False) == IDS).all()


@pytest.mark.parametrize(
    "image", [Image.fromarray(grey(3)), Image.fromarray(grey(3)).convert("P"), Image.fromarray(grey(3, 0, np.uint16)), MASKS["opaque"]]
)
def test_grey_masks_are_no_coded_ones(tmp_path: Path, image: Image.Image) -> None:
    path = stored(image, tmp_path / "0.png")
    with pytest.raises(InputError, match="is grey, but class ids must be coded"):
        decode_mask(path.read_bytes(), path, binary=False)
    empty = stored(Image.new(image.mode, image.size), tmp_path / "1.png")
    assert not decode_mask(empty.read_bytes(), empty, binary=False).any()


def imagenet_s(root: Path, ids: np.ndarray) -> Dataset:
    home = root / "ImageNetS2"
    for class_id in ("n01440764", "n01443537"):
        stored(Image.fromarray(NOISE), home / "validation" / class_id / "0.png")
        stored(Image.fromarray(coded(ids)), home / "validation-segmentation" / class_id / "0.png")
    return Dataset("imagenet_s", root, subset=2)


def test_fractions_of_coded_masks(tmp_path: Path) -> None:
    ids = np.where(OBJECT, 2, 0)
    ids[0, :4] = IGNORED_ID
    rows = build(imagenet_s(tmp_path, ids)).to_pylist()
    assert [row["mask_fraction"] for row in rows] == pytest.approx([0, SHARE])


def test_ids_beyond_the_classes_are_refused(tmp_path: Path, note_fault: Callable[..., None]) -> None:
    with pytest.raises(InputError, match=r"holds the class id 300 \(R \+ 256 G\), but the largest id is 2") as caught:
        build(imagenet_s(tmp_path, IDS))
    note_fault("data set: masks of another ImageNet-S", str(caught.value))


# Masks that are not there, found while the workflow is planned


def plan(root: Path, **options: Any) -> Plan:
    config = small_config(analyses=["identifiability", "tokens"])
    config["datasets"] = {
        "d": {"kind": "imagefolder", "root": str(root), "images_per_class": None, "masks": str(root / "masks"), **options}
    }
    return Plan(configs.resolve(config), "results/small")


def no_split_level(masks: Path) -> None:
    (masks / "validation" / "cat").rename(masks / "cat")
    (masks / "validation").rmdir()


def other_ending(masks: Path) -> None:
    for path in sorted((masks / "validation" / "cat").iterdir()):
        path.rename(path.with_suffix(".jpg"))


def no_class_level(masks: Path) -> None:
    for path in sorted((masks / "validation" / "cat").iterdir()):
        path.rename(masks / "validation" / path.name)


LOST = {
    "no split level": (no_split_level, r"`datasets.d.masks`: there is no folder \S+/masks/validation, and"),
    "no class level": (no_class_level, r"3 of 3 images in \S+ have no mask, such as validation/cat/00.png, .*/cat/00.png: correct"),
    "another ending": (other_ending, r"3 of 3 images .*/cat/00.png \(there is cat/00.jpg, but masks must be PNG files"),
    "one missing": (
        lambda masks: (masks / "validation" / "cat" / "01.png").unlink(),
        "1 of 3 images .* such as validation/cat/01.png, .*: add them, or set on_bad_image: skip",
    ),
    "a link that leads nowhere": (
        lambda masks: ((masks / "validation" / "cat" / "01.png").unlink(), (masks / "validation" / "cat" / "01.png").symlink_to("x")),
        "1 of 3 images",
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_masks_that_are_not_found_are_refused_at_planning(tmp_path: Path, what: str, note_fault: Callable[..., None]) -> None:
    photos(tmp_path, *[Image.fromarray(grey())] * 3)
    assert plan(tmp_path).datasets["d"].has_masks
    spoil, message = LOST[what]
    spoil(tmp_path / "masks")
    with pytest.raises(InputError, match=message) as caught:
        plan(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    note_fault(f"data set: masks, {what}", str(caught.value))


def test_images_without_masks_may_be_left_out_unless_all_are(tmp_path: Path) -> None:
    dataset = photos(tmp_path, *[Image.fromarray(grey())] * 3)
    (tmp_path / "masks" / "validation" / "cat" / "01.png").unlink()
    assert plan(tmp_path, on_bad_image="skip").datasets["d"].has_masks
    table = build(Dataset("imagefolder", tmp_path, masks=dataset.masks, skip=True))
    assert (table["image_id"].to_pylist(), table.schema.metadata[b"images_left_out"]) == ([0, 2], b"1")
    shutil.rmtree(tmp_path / "masks" / "validation" / "cat")
    with pytest.raises(InputError, match="3 of 3 images"):
        plan(tmp_path, on_bad_image="skip")


def test_masks_of_other_splits_are_not_asked_for(tmp_path: Path) -> None:
    photos(tmp_path, *[Image.fromarray(grey())] * 2)
    shutil.copytree(tmp_path / "validation", tmp_path / "test")
    config = small_config(analyses=["identifiability", "probes"])
    settings = {"images_per_class": None, "probe_images_per_class": None, "masks": str(tmp_path / "masks")}
    config["datasets"] = {"d": {"kind": "imagefolder", "root": str(tmp_path), **settings}}
    assert Plan(configs.resolve(config), "results/small").datasets["d"].splits == ["validation", "test"]


def test_masks_among_the_images_are_refused(tmp_path: Path, note_fault: Callable[..., None]) -> None:
    """Otherwise every mask would be an image of the class."""
    for name in ("0.jpg", "0.png"):
        stored(Image.fromarray(NOISE), tmp_path / "validation" / "cat" / name)
    with pytest.raises(InputError, match=r"has 0.jpg and 0.png, which would share a mask") as caught:
        plan(tmp_path, masks=str(tmp_path))
    note_fault("data set: masks beside the images", str(caught.value))
    assert plan(tmp_path, masks=None).datasets["d"].image_count("validation") == 2
