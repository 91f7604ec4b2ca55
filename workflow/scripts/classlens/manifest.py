"""The table of a split's images, each of which has been decoded once.

One row per image: image_id, class_index, class_id, class_name, path, mask_path, shard; beside the contract's columns mask_id (the pixel
value of the image's class in its mask), width, height and the sha256 of both files. Paths are relative to the data set's root, so that the
data set may move.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from classlens.cli import log, progress
from classlens.datasets import Dataset, Image, imagenet_id
from classlens.errors import InputError
from classlens.images import decode, read_bytes

SCHEMA = pa.schema(
    [
        ("image_id", pa.int32()),
        ("class_index", pa.int32()),
        ("class_id", pa.string()),
        ("class_name", pa.string()),
        ("path", pa.string()),
        ("mask_path", pa.string()),
        ("shard", pa.string()),
        ("mask_id", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("mask_sha256", pa.string()),
    ]
)


def build(dataset: Dataset, split: str, per_class: int | None, shard_size: int, threads: int) -> pa.Table:
    """The manifest of a split.

    Args:
        dataset: where the images lie.
        split: name of the split.
        per_class: images of each class; None for all.
        shard_size: images per shard, counted before bad images are left out.
        threads: how many images are decoded at once.

    Raises:
        InputError: an image or mask is missing, damaged or of the wrong size, unless `dataset.skip`; or a class is not known.
    """
    images = dataset.images(split, per_class)
    classes = class_table(dataset, split)
    indices = {class_id: index for index, (class_id, _) in enumerate(classes)}
    mask_ids = _mask_ids(dataset, split)
    rows = []
    with ThreadPoolExecutor(threads) as pool:
        checked = pool.map(lambda image: _checked(image, dataset), images)
        for image_id, facts in enumerate(progress(checked, len(images), f"checking {split}")):
            if isinstance(facts, InputError):
                _leave_out(facts, dataset.skip)
                continue
            class_id = images[image_id].class_id
            index = _index(class_id, indices, dataset, split)
            shard = f"{image_id // shard_size:05d}"
            named = {"image_id": image_id, "class_index": index, "class_id": class_id, "class_name": classes[index][1], "shard": shard}
            rows.append({**named, **facts, "mask_id": _mask_id(class_id, mask_ids) if facts["mask_path"] else None})
    if not rows:
        raise InputError(f"{dataset.home / split}: no image can be used; the log says why for each")
    left_out = len(images) - len(rows)
    log.info("%d images of %d classes, %d left out", len(rows), len({row["class_id"] for row in rows}), left_out)
    metadata = {
        "masks": "binary" if dataset.binary_masks else "imagenet_s",
        "classes": json.dumps(classes),
        "images_left_out": str(left_out),
    }
    return pa.Table.from_pylist(rows, SCHEMA.with_metadata(metadata))


def _leave_out(error: InputError, skip: bool) -> None:
    if not skip:
        raise error
    log.warning("left out: %s", error)


def _checked(image: Image, dataset: Dataset) -> dict[str, Any] | InputError:
    """What `_facts` finds, or the error that it raises: the pool's iterator would end at a raised one."""
    try:
        return _facts(image, dataset)
    except InputError as error:
        return error


def _facts(image: Image, dataset: Dataset) -> dict[str, Any]:
    """Facts about an image that can be decoded and, where it has one, about a mask that fits it."""
    path = dataset.root / image.path
    data, digest = read_bytes(path)
    width, height = decode(data, path).size
    facts: dict[str, Any] = {
        "path": image.path,
        "width": width,
        "height": height,
        "sha256": digest,
        "mask_path": image.mask_path,
        "mask_sha256": None,
    }
    if image.mask_path:
        mask_path = dataset.root / image.mask_path
        data, facts["mask_sha256"] = read_bytes(mask_path)
        size = decode(data, mask_path).size
        if size != (width, height):
            raise InputError(f"mask {mask_path} is {size[0]} x {size[1]} pixels and its image {width} x {height}: they must agree")
    return facts


def class_list(dataset: Dataset, split: str) -> pa.Table:
    """Return the classes of a data set, in the order of their indices, with the schema metadata about them that manifests have.

    No image is looked at, so that what depends on the classes alone does not depend on images.
    """
    classes = class_table(dataset, split)
    columns = {"class_index": pa.array(range(len(classes)), pa.int32()), "class_id": [one for one, _ in classes]}
    table = pa.table({**columns, "class_name": [name for _, name in classes]})
    return table.replace_schema_metadata({"classes": json.dumps(classes)})


def class_table(dataset: Dataset, split: str) -> list[tuple[str, str]]:
    """(id, name) of each class, in the order of the class indices."""
    if dataset.kind == "imagenet_s" or dataset.classes == "imagenet":
        from timm.data import ImageNetInfo  # brings torch with it, which image folders can do without

        info = ImageNetInfo()
        return [(label, info.label_name_to_description(label)) for label in info.label_names()]
    ids = dataset.category_ids(split) if dataset.kind == "shapes" else dataset.folder_classes(split)
    return [(class_id, class_id.replace("_", " ")) for class_id in ids]


def _index(class_id: str, indices: dict[str, int], dataset: Dataset, split: str) -> int:
    known = imagenet_id(class_id) if dataset.kind == "imagenet_s" or dataset.classes == "imagenet" else class_id
    if known not in indices:
        folder = dataset.home / split / class_id
        raise InputError(f"class folder {folder} is none of the {len(indices)} classes: rename it, or correct the data set's `classes`")
    return indices[known]


def _mask_id(class_id: str, mask_ids: dict[str, int]) -> int:
    if class_id not in mask_ids:
        raise InputError(f"class {class_id} is not in the category file that numbers the classes of the masks: complete the file")
    return mask_ids[class_id]


def _mask_ids(dataset: Dataset, split: str) -> dict[str, int]:
    """Pixel value of each class in masks."""
    if dataset.mask_folder(split) is None:
        return {}
    if dataset.binary_masks:
        return dict.fromkeys(dataset.class_folders(split), 1)
    return {class_id: index for index, class_id in enumerate(dataset.category_ids(split), start=1)}
