"""Data sets, manifests, masks and transforms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import GOLDEN
from PIL import Image

from classlens.analyses import tokens
from classlens.data import manifest, shapes
from classlens.data.geometry import Geometry
from classlens.data.images import IGNORED_ID, decode, mask_ids, read_bytes, to_rgb
from classlens.data.layouts import MERGED_CLASSES, Dataset, shard_names
from classlens.data.transforms import Transform, default_transform, own_transform
from classlens.errors import InputError
from classlens.protocol import CORRECTED, PAPER

RNG = np.random.default_rng(0)


def picture(path: Path, size: tuple[int, int] = (12, 10), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder with masks: two classes of three images, one class with a space and unicode in its name."""
    for name in ("zebra", "été & <b>"):
        for i in range(3):
            picture(tmp_path / "validation" / name / f"{i}.jpg")
            mask = tmp_path / "masks" / "validation" / name / f"{i}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.pad(np.full((5, 6), 255, np.uint8), ((0, 5), (0, 6)))).save(mask)
    return tmp_path


def images_of(root: Path, **options: Any) -> Dataset:
    return Dataset("imagefolder", root, masks=root / "masks", **options)


def build(dataset: Dataset, per_class: int | None = None) -> list[dict[str, Any]]:
    return manifest.build(dataset, "validation", per_class, shard_size=4, threads=2).to_pylist()


def test_image_folder(folder: Path) -> None:
    rows = build(images_of(folder))
    assert [row["class_id"] for row in rows] == ["zebra"] * 3 + ["été & <b>"] * 3
    assert [row["class_index"] for row in rows] == [0] * 3 + [1] * 3
    assert [row["shard"] for row in rows] == ["00000"] * 4 + ["00001"] * 2
    assert rows[0]["path"] == "validation/zebra/0.jpg"
    assert rows[0]["mask_path"] == "masks/validation/zebra/0.png"
    assert len(build(images_of(folder), per_class=2)) == 4
    assert build(Dataset("imagefolder", folder))[0]["mask_path"] is None


def test_class_order_from_a_file_and_from_imagenet(folder: Path) -> None:
    order = folder / "classes.txt"
    order.write_text("été & <b>\nunused\nzebra\n", encoding="utf-8")
    assert {row["class_id"]: row["class_index"] for row in build(images_of(folder, classes=str(order)))} == {"zebra": 2, "été & <b>": 0}
    order.write_text("zebra\n", encoding="utf-8")
    with pytest.raises(InputError, match="does not list the class folder"):
        build(images_of(folder, classes=str(order)))
    for name, imagenet_id in (("zebra", "n02123045"), ("été & <b>", "n02123159")):
        (folder / "validation" / name).rename(folder / "validation" / f"{imagenet_id}_{name}")
    rows = build(Dataset("imagefolder", folder, classes="imagenet"))
    assert {row["class_index"] for row in rows} == {281, 282}
    assert rows[0]["class_name"].startswith("tabby")


def test_imagenet_s_of_the_golden_data() -> None:
    rows = build(Dataset("imagenet_s", GOLDEN / "data"), per_class=5)
    assert len(rows) == 100
    assert rows[0]["class_index"] == 3
    assert rows[0]["class_name"].startswith("tiger shark")
    assert rows[0]["mask_id"] == 4


@pytest.mark.parametrize("subset", [50, 300, 919])
def test_imagenet_s_subsets_without_a_list(tmp_path: Path, subset: int) -> None:
    ids = timm.data.ImageNetInfo().label_names()[:subset]
    home = tmp_path / f"ImageNetS{subset}"
    for class_id in ids:
        (home / "validation" / class_id).mkdir(parents=True)
    for i in (2, 0, 1):
        picture(home / "validation" / ids[1] / f"{i}.JPEG")
    dataset = Dataset("imagenet_s", tmp_path, subset=subset, skip=True)
    assert [Path(row["path"]).name for row in build(dataset, 2)] == ["0.JPEG", "1.JPEG"]
    assert dataset.category_ids("validation") == ids
    (home / "validation" / ids[0]).rmdir()
    with pytest.raises(InputError, match="mask ids need"):
        dataset.category_ids("validation")


def test_list_decides_order_and_merged_classes_are_left_out(tmp_path: Path) -> None:
    home = tmp_path / "ImageNetS50"
    merged = sorted(MERGED_CLASSES)[0]
    for name in ("n01440764/b.JPEG", "n01440764/a.JPEG", "n01443537/c.JPEG", f"{merged}/d.JPEG"):
        picture(home / "validation" / name)
    rows = "n01443537,c.JPEG\nn01440764,b.JPEG\nn01440764,a.JPEG\n" + f"{merged},d.JPEG\n"
    (home / "validation_stim_info.csv").write_text("imagenet_id,img_name\n" + rows, encoding="utf-8")
    paths = [Path(image.path).name for image in Dataset("imagenet_s", tmp_path, subset=50).images("validation", None)]
    assert paths == ["c.JPEG", "b.JPEG", "a.JPEG"]
    (home / "validation_stim_info.csv").write_text("imagenet_id,img_name\nn02123045,x.JPEG\n", encoding="utf-8")
    with pytest.raises(InputError, match="lists the class n02123045"):
        Dataset("imagenet_s", tmp_path, subset=50).images("validation", None)
    for row in ("..,x.JPEG", "n01440764,../../secret.JPEG", "n01440764,"):
        (home / "validation_stim_info.csv").write_text(f"imagenet_id,img_name\n{row}\n", encoding="utf-8")
        with pytest.raises(InputError, match="has no valid class folder or image name: correct or remove it"):
            Dataset("imagenet_s", tmp_path, subset=50).images("validation", None)


def test_classes_with_too_few_images(folder: Path) -> None:
    (folder / "validation" / "zebra" / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"zebra has 2 images, but the config needs 3"):
        build(images_of(folder), per_class=3)
    assert len(build(images_of(folder, skip=True), per_class=3)) == 3
    assert len(build(images_of(folder, protocol=PAPER), per_class=3)) == 3


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere/validation does not exist"):
        build(Dataset("imagefolder", tmp_path / "nowhere"))
    with pytest.raises(InputError, match="ImageNetS919/validation does not exist"):
        build(Dataset("imagenet_s", tmp_path))
    (tmp_path / "validation").mkdir()
    with pytest.raises(InputError, match="no class folders with images"):
        build(Dataset("imagefolder", tmp_path))
    with pytest.raises(InputError, match="masks folder"):
        Dataset("imagefolder", tmp_path, masks=tmp_path / "none").mask_folder("validation")


def test_folders_of_other_names_are_answered_with_what_there_is(tmp_path: Path) -> None:
    for name in ("train", "val"):
        picture(tmp_path / name / "cat" / "0.jpg")
    with pytest.raises(InputError, match=r"validation does not exist; .* holds train, val: .* `eval_split`"):
        build(Dataset("imagefolder", tmp_path))
    assert len(Dataset("imagefolder", tmp_path).images("val", None)) == 1


def test_a_class_without_images_is_no_class_unless_it_may_be_left_out(folder: Path) -> None:
    (folder / "validation" / "aardvark").mkdir()
    with pytest.raises(InputError, match="aardvark has no images"):
        build(images_of(folder))
    assert "aardvark" not in {row["class_id"] for row in build(images_of(folder, skip=True))}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def resize_mask(path: Path) -> None:
    Image.new("L", (3, 3)).save(path)


BROKEN = {
    "truncated image": ("validation/zebra/1.jpg", truncate, "cannot be decoded"),
    "text instead of an image": ("validation/zebra/1.jpg", lambda path: path.write_text("not an image"), "no known image format"),
    "empty image": ("validation/zebra/1.jpg", lambda path: path.write_bytes(b""), "cannot be decoded"),
    "mask of another size": ("masks/validation/zebra/1.png", resize_mask, "3 x 3 pixels and its image 12 x 10"),
    "missing mask": ("masks/validation/zebra/1.png", Path.unlink, "No such file"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_bad_images_are_named_or_left_out(folder: Path, fault: str, note_fault: Callable[..., None]) -> None:
    name, spoil, message = BROKEN[fault]
    spoil(folder / name)
    with pytest.raises(InputError, match=message) as caught:
        build(images_of(folder))
    assert name in str(caught.value)
    note_fault(f"data set: {fault}", str(caught.value))
    rows = build(images_of(folder, skip=True))
    assert [row["image_id"] for row in rows] == [0, 2, 3, 4, 5]
    assert [row["shard"] for row in rows] == ["00000"] * 3 + ["00001"] * 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_images_of_every_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": "jpg", "F": "tiff", "I": "png"}.get(mode, "png")
    path = tmp_path / f"image.{suffix}"
    grey = Image.fromarray(np.full((4, 5), 40000, np.uint16)) if mode.startswith("I") else None
    (grey if grey is not None else Image.new("RGB", (5, 4), (200, 100, 50)).convert(mode)).save(path)
    rgb = to_rgb(decode(read_bytes(path)[0], path))
    assert (rgb.mode, rgb.size) == ("RGB", (5, 4))
    if grey is not None:
        assert rgb.getpixel((0, 0)) == (156, 156, 156)


def test_bombs_and_animations(tmp_path: Path, note_fault: Callable[..., None]) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(bomb)
    with pytest.raises(InputError, match=r"bomb\.png cannot be decoded .*400000000 pixels") as caught:
        decode(bomb.read_bytes(), bomb)
    note_fault("data set: decompression bomb", str(caught.value))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert to_rgb(decode((tmp_path / "moving.gif").read_bytes(), tmp_path)).getpixel((0, 0)) == (255, 0, 0)


def test_images_are_taken_as_they_are_stored(folder: Path) -> None:
    """A photograph on its side stays so, as in the published code and as its mask was drawn."""
    path = folder / "validation" / "zebra" / "0.jpg"
    image = Image.open(path)
    image.getexif()[0x0112] = 6
    image.save(path, exif=image.getexif())
    assert Image.open(path).getexif()[0x0112] == 6
    assert (build(images_of(folder))[0]["width"], build(images_of(folder))[0]["height"]) == (12, 10)
    assert to_rgb(decode(path.read_bytes(), path)).size == (12, 10)


def test_an_image_of_one_pixel(tmp_path: Path) -> None:
    path = picture(tmp_path / "validation" / "a" / "0.png", size=(1, 1))
    (row,) = build(Dataset("imagefolder", tmp_path))
    assert (row["width"], row["height"]) == (1, 1)
    transform = Transform({"resize": 40, "crop": [32, 32], "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3})
    pixels = transform.pixels(to_rgb(decode(path.read_bytes(), path)))
    assert pixels.shape == (3, 32, 32)
    assert (pixels == pixels[:, :1, :1]).all()


def test_mask_codes() -> None:
    pixels = np.array([[[0, 0, 0], [4, 0, 9]], [[44, 1, 0], [232, 3, 0]]], np.uint8)
    assert mask_ids(Image.fromarray(pixels), binary=False).tolist() == [[0, 4], [300, IGNORED_ID]]
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA"):
        mask = Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode)
        assert mask_ids(mask, binary=True).tolist() == [[0, 1]], mode


def test_published_labels_look_at_one_pixel_per_patch() -> None:
    ids = np.arange(7 * 5).reshape(7, 5)
    labels, share = tokens.sampled_labels(ids, class_id=ids[7 * 1 // 3, 5 * 2 // 3], grid=(3, 3))
    assert labels.tolist() == [1, 1, 1, 1, 1, 0, 1, 1, 1]
    assert share.sum() == 1


def test_area_labels() -> None:
    patch = {"class": [[7, 7], [7, 0]], "half": [[7, 7], [0, 0]], "less": [[7, 0], [0, 0]], "ignored": [[1000, 1000], [1000, 7]]}
    ids = np.block([[np.array(patch["class"]), np.array(patch["half"])], [np.array(patch["less"]), np.array(patch["ignored"])]])
    labels, share = tokens.area_labels(ids, 7, (2, 2))
    assert labels.tolist() == [0, 0, 1, 2]
    assert share.tolist() == [0.75, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("size", [(40, 30), (30, 47), (33, 33)])
@pytest.mark.parametrize(
    "arch", ["vit_base_patch16_224", "vit_base_patch16_224_miil", "deit3_base_patch16_224", "vit_base_patch16_rpn_224"]
)
def test_transform_is_timms_own(arch: str, size: tuple[int, int]) -> None:
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(arch).to_dict())
    config["input_size"] = (3, 24, 24)
    image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), np.uint8))
    ours = Transform(own_transform(config))(image)
    torch.testing.assert_close(ours, timm.data.create_transform(**config)(image), atol=2e-6, rtol=0)


def test_mask_follows_its_image() -> None:
    """A mask that is the image itself, thresholded, still marks the same place after both were transformed."""
    ids = np.zeros((60, 90), np.int32)
    ids[20:45, 50:70] = 5
    geometry = Geometry({"resize": 48, "crop": [40, 40], "interpolation": "bilinear"})
    bright = np.asarray(geometry.image(Image.fromarray(np.repeat((ids > 0).astype(np.uint8)[..., None] * 255, 3, axis=2))))[..., 0] > 127
    assert ((geometry.mask(ids) == 5) != bright).mean() < 0.03
    assert set(np.unique(geometry.mask(ids))) == {0, 5}


def test_default_transforms_of_both_protocols() -> None:
    config = {
        "input_size": (3, 224, 224),
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": (0.5,),
        "std": (0.5,),
    }
    assert default_transform("vit_base_patch16_224", config, CORRECTED)["resize"] == 248
    assert default_transform("vit_base_patch16_224", config, PAPER) == {
        "resize": [224, 224],
        "crop": None,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    assert default_transform("deit_base_patch16_224", config, PAPER)["resize"] == [256, 256]
    assert default_transform("vit_base_patch16_224_miil", config, PAPER)["crop"] == [224, 224]


def test_shapes_are_an_imagenet_s_data_set(tmp_path: Path) -> None:
    shapes.write(tmp_path, 4, {"train": 1, "validation": 2}, seed=0, threads=2)
    dataset = Dataset("shapes", tmp_path, subset=4)
    rows = build(dataset)
    assert len(rows) == 8
    assert [row["mask_id"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4]
    ids = mask_ids(Image.open(tmp_path / rows[0]["mask_path"]), binary=False)
    assert set(np.unique(ids)) == {0, 1, IGNORED_ID}
    assert dataset.mask_folder("train") is None


def test_shapes_depend_on_the_seed_only(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shapes.write(tmp_path / name, 2, {"validation": 1}, seed=seed, threads=1)
    first, again, other = (sorted((tmp_path / name).rglob("*.jpg"))[0].read_bytes() for name in "abc")
    assert first == again != other


def test_shard_names() -> None:
    assert shard_names(513, 512) == ["00000", "00001"]
    assert shard_names(512, 512) == ["00000"]
