"""Conversion of the official Python archives of CIFAR-10 and CIFAR-100 into folders of images, without executing code in them.

The archives are pickled dictionaries of lists and one NumPy array. The unpickler accepts these types and refuses everything else.
"""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from classlens.data.cifar_layout import ARCHIVES, Archive
from classlens.data.class_order import is_plain
from classlens.errors import InputError, first_line
from classlens.progress import log, progress

SIDE = 32
"""Height and width of an image in pixels."""

# Functions and classes in a Python 2 pickle of a byte array, under the names that they had at that time.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that accepts arrays, lists and numbers, and cannot call other code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return _ALLOWED[module, name]


def unpickled(path: Path) -> dict[str, Any]:
    """Return the dictionary in a file of the archive.

    Raises:
        InputError: the file is missing or damaged, or would execute code.
    """
    try:
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: unpack the archive again, or set the data set's `download: true`") from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise InputError(f"{path} is not a file of the official Python archive ({first_line(error)}): get the archive again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a file of the official Python archive (it holds no dictionary): get the archive again")
    return {_text(key): value for key, value in content.items()}


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def class_names(archive: Archive, home: Path) -> list[str]:
    """Return the names of the classes in the order of their labels, which is alphabetical.

    Raises:
        InputError: the file is damaged.
    """
    found = _field(home / archive.names, unpickled(home / archive.names), archive.label_names)
    names = [_text(name) for name in found] if isinstance(found, list) else []
    if len(names) != archive.classes or names != sorted(set(names)) or not all(map(is_plain, names)):  # folders get these names
        raise InputError(f"{home / archive.names} does not name the {archive.classes} classes: get the archive again")
    return names


def _field(path: Path, content: dict[str, Any], key: str) -> Any:
    if key not in content:
        raise InputError(f"{path} has no `{key}`: it is not a file of the official Python archive; get the archive again")
    return content[key]


def read_split(archive: Archive, home: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [image, height, width, 3], and the labels, [image], of a split.

    Raises:
        InputError: a file is missing or damaged.
    """
    images, labels = [], []
    for name in archive.batches[split]:
        content = unpickled(home / name)
        data, of_batch = np.asarray(_field(home / name, content, "data")), np.asarray(_field(home / name, content, archive.labels))
        if data.dtype != np.uint8 or data.shape != (len(of_batch), 3 * SIDE * SIDE) or of_batch.dtype.kind != "i":
            raise InputError(f"{home / name} does not hold {SIDE} x {SIDE} colour images with labels: get the archive again")
        images.append(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        labels.append(of_batch)
    return np.concatenate(images), np.concatenate(labels)


def unpack(kind: str, root: Path, split: str, per_class: int | None, folder: Path) -> None:
    """Write the first images of each class of a split as `folder/{class}/{number}.png`, with the numbers of the archive.

    Args:
        kind: `cifar10` or `cifar100`.
        root: the archive's folder, or the folder that contains it.
        split: `train` or `test`.
        per_class: images of each class; None for all.
        folder: folder to write.

    Raises:
        InputError: the archive is missing or damaged.
    """
    archive = ARCHIVES[kind]
    home = archive.home(root)
    if home is None:
        raise InputError(f"{root} holds no {archive.folder}: set the data set's `root` to its folder, or `download: true`")
    names = class_names(archive, home)
    images, labels = read_split(archive, home, split)
    chosen = [number for label in range(archive.classes) for number in np.flatnonzero(labels == label)[:per_class]]
    if len(chosen) != archive.count(split, per_class):
        raise InputError(f"{home} has too few images in {split}: get the archive again")
    for number in progress(chosen, len(chosen), f"unpacking {split}"):
        path = folder / names[labels[number]] / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(path)


def download(kind: str, root: Path) -> None:
    """Download the official archive into a folder, and check its published MD5 hash.

    Raises:
        InputError: the download fails.
    """
    from torchvision.datasets import CIFAR10, CIFAR100, utils  # imported here, because it imports torch, which unpacking does not need

    known = {"cifar10": CIFAR10, "cifar100": CIFAR100}[kind]
    log.info("downloading %s", known.url)
    try:
        utils.download_and_extract_archive(known.url, root, filename=known.filename, md5=known.tgz_md5)
    except Exception as error:  # the network can raise any exception
        raise InputError(
            f"{known.filename} cannot be downloaded ({first_line(error)}): download it on a machine with network access, unpack it, "
            "and set the data set's `root` to its folder"
        ) from None
