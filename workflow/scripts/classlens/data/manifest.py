"""The manifest: the table of a split's images, each of which has been decoded once.

One row per image: image_id, class_index, class_id, class_name, path, mask_path, shard, mask_id (the pixel value of the image's class in its
mask), mask_fraction (the share of the mask's pixels with this value), width, height, and the sha256 of both files. Paths are relative to
the data set's root, and those of masks that the workflow made to the folder of its masks, so that both folders can move. The schema
metadata record the source of the class indices, and the files that are not images.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from classlens.compute.ordered_map import ordered_map
from classlens.data.class_names import class_names
from classlens.data.class_order import normal
from classlens.data.dataset_classes import class_ids, order_of
from classlens.data.images import IGNORED_ID, check_range, decode, decode_mask, leave_out, read_bytes
from classlens.data.layouts import Dataset, Image, imagenet_id
from classlens.data.made_masks import OBJECT, file_name
from classlens.data.manifest_classes import order_of as order_of_manifest
from classlens.errors import InputError, printable
from classlens.progress import log, progress

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
        ("mask_fraction", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("mask_sha256", pa.string()),
    ]
)

IMAGES_AHEAD = 4
"""Number of images per thread that are checked ahead."""
ROWS_AT_ONCE = 10_000
"""Number of rows that are Python objects at a time, which need ten times as much RAM as a table."""


def build(dataset: Dataset, split: str, per_class: int | None, shard_size: int, threads: int) -> pa.Table:
    """Return the manifest of a split.

    Args:
        dataset: the data set.
        split: name of the split.
        per_class: images per class; None for all.
        shard_size: images per shard, counted before bad images are left out.
        threads: number of images that are decoded at once.

    Raises:
        InputError: no image can be used; a class is not known; or, unless `dataset.skip`, an image or mask is missing, damaged or of the
            wrong size.
    """
    images = dataset.images(split, per_class)
    if dataset.mask_root:
        images = [replace(image, mask_path=f"{split}/{file_name(number)}") for number, image in enumerate(images)]
    table = of_images(dataset, split, images, shard_size, threads)
    _say(table)
    return table


def of_images(dataset: Dataset, split: str, images: list[Image], shard_size: int, threads: int) -> pa.Table:
    """Return a manifest of given images of a split; see `build`."""
    no_images = dataset.left_out(split)
    classes = class_table(dataset, split)
    indices = {normal(class_id): index for index, (class_id, _) in enumerate(classes)}
    mask_ids = _mask_ids(dataset, split)
    parts, rows, used = [SCHEMA.empty_table()], [], set[str]()

    def start(pool: ThreadPoolExecutor, image: Image) -> Callable[[], dict[str, Any] | InputError]:
        return pool.submit(_checked, image, dataset, mask_ids).result

    checked = ordered_map(start, images, threads, IMAGES_AHEAD * threads)
    for image_id, facts in enumerate(progress(checked, len(images), f"checking {split}")):
        if isinstance(facts, InputError):
            leave_out(facts, dataset.skip)
            continue
        class_id = images[image_id].class_id
        index = _index(class_id, indices, dataset, split)
        shard = f"{image_id // shard_size:05d}"
        named = {"image_id": image_id, "class_index": index, "class_id": class_id, "class_name": classes[index][1], "shard": shard}
        rows.append({**named, **facts})
        used.add(class_id)
        if len(rows) == ROWS_AT_ONCE:
            parts.append(pa.Table.from_pylist(rows, SCHEMA))
            rows = []
    table = pa.concat_tables([*parts, pa.Table.from_pylist(rows, SCHEMA)])
    if not table.num_rows:
        raise InputError(f"{dataset.folder(split)}: no image can be used; the log says why for each")
    order = order_of(dataset, split, [class_id for class_id, _ in classes])
    left_out = len(images) - table.num_rows
    log.info("split %s: %s", split, printable(str(dataset.folder(split))))
    log.info("%d images of %d classes, %d left out", table.num_rows, len(used), left_out)
    metadata = {
        "masks": "binary" if dataset.binary_masks else "imagenet_s",
        "classes": json.dumps(classes),
        "class_order": json.dumps(asdict(order)),
        "images_left_out": str(left_out),
        "left_out": json.dumps(no_images),
    }
    return table.replace_schema_metadata(metadata)


def _say(table: pa.Table) -> None:
    """Log a class order that may be wrong, and the files that are left out."""
    order = order_of_manifest(table)
    if order.differs:
        log.warning(
            "class indices follow the numbers in the names of class folders (timm's order): class %d is %s, and %s in torchvision's order; "
            "set the data set's `class_order` or `classes` to the order of the model",
            *(order.differs[0], *map(printable, order.differs[1:])),
        )
    if order.gap is not None:
        log.warning(
            "labels are integers with gaps (%d is missing), and class indices skip the missing ones: if they are rows of the model's head, "
            "list all classes in a file (`classes`)",
            order.gap,
        )
    for count, why, example in json.loads(table.schema.metadata[b"left_out"]):
        log.info("left out: %d %s, such as %s", count, why, printable(example))


def _checked(image: Image, dataset: Dataset, mask_ids: dict[str, int]) -> dict[str, Any] | InputError:
    """Return the result of `_facts`, or the error that it raises, because an exception would end the pool's iterator."""
    try:
        return _facts(image, dataset, mask_ids)
    except InputError as error:
        return error


def _facts(image: Image, dataset: Dataset, mask_ids: dict[str, int]) -> dict[str, Any]:
    """Return facts about an image and its mask, and raise an InputError if the image cannot be decoded or the mask does not fit."""
    path = dataset.root / image.path
    data, digest = read_bytes(path)
    picture = decode(data, path)
    check_range(picture, path)
    facts = {"path": image.path, "width": picture.width, "height": picture.height, "sha256": digest}
    return {**facts, **_mask_facts(image, picture.size, dataset, mask_ids)} if image.mask_path else facts


def _mask_facts(image: Image, size: tuple[int, int], dataset: Dataset, mask_ids: dict[str, int]) -> dict[str, Any]:
    """Return facts about the mask of an image, whose width and height are `size`."""
    path = (dataset.mask_root or dataset.root) / str(image.mask_path)
    data, digest = read_bytes(path)
    ids, mask_id = decode_mask(data, path, dataset.binary_masks), _mask_id(image.class_id, mask_ids)
    height, width = ids.shape
    if (width, height) != size:
        raise InputError(f"mask {path} is {width} x {height} pixels and its image {size[0]} x {size[1]}: they must agree")
    largest = int(ids.max(where=ids != IGNORED_ID, initial=0))
    if largest > max(mask_ids.values()):
        raise InputError(
            f"mask {path} holds the class id {largest} (R + 256 G), but the largest id is {max(mask_ids.values())}: get the masks of this "
            "data set"
        )
    return {"mask_path": image.mask_path, "mask_sha256": digest, "mask_id": mask_id, "mask_fraction": float((ids == mask_id).mean())}


def class_list(dataset: Dataset, split: str) -> pa.Table:
    """Return the classes of a data set, in the order of their indices, with the metadata about classes that manifests have.

    It reads no image, so that results that depend only on the classes do not become stale when images change.
    """
    classes = class_table(dataset, split)
    columns = {"class_index": pa.array(range(len(classes)), pa.int32()), "class_id": [one for one, _ in classes]}
    table = pa.table({**columns, "class_name": [name for _, name in classes]})
    order = order_of(dataset, split, [class_id for class_id, _ in classes])
    return table.replace_schema_metadata({"classes": json.dumps(classes), "class_order": json.dumps(asdict(order))})


def class_table(dataset: Dataset, split: str) -> list[tuple[str, str]]:
    """Return (id, name) of each class, in the order of the class indices."""
    if dataset.kind == "imagenet_s" or dataset.classes == "imagenet":
        from timm.data import ImageNetInfo  # imported here, because it imports torch, which image folders do not need

        ids = ImageNetInfo().label_names()
    else:
        ids = class_ids(dataset, split)
    return list(zip(ids, class_names(ids, dataset.names), strict=True))


def _index(class_id: str, indices: dict[str, int], dataset: Dataset, split: str) -> int:
    known = imagenet_id(class_id) if dataset.kind == "imagenet_s" or dataset.classes == "imagenet" else normal(class_id)
    if known not in indices:
        folder = dataset.folder(split) / class_id
        raise InputError(f"class folder {folder} is not one of the {len(indices)} classes: rename it, or correct the data set's `classes`")
    return indices[known]


def _mask_id(class_id: str, mask_ids: dict[str, int]) -> int:
    if class_id not in mask_ids:
        raise InputError(f"class {class_id} is not in the category file that numbers the classes of the masks: complete the file")
    return mask_ids[class_id]


def _mask_ids(dataset: Dataset, split: str) -> dict[str, int]:
    """Return the pixel value of each class in masks."""
    if dataset.mask_root:
        return dict.fromkeys(dataset.class_folders(split), OBJECT)
    if dataset.mask_folder(split) is None:
        return {}
    if dataset.binary_masks:
        return dict.fromkeys(dataset.class_folders(split), 1)
    return {class_id: index for index, class_id in enumerate(dataset.category_ids(split), start=1)}
