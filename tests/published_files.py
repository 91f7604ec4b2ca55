"""Small files of the same structure as those that are published: archives of CIFAR, the hub's cache, checkpoints, ImageNet-S 50."""

import io
import pickle
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from classlens.data.cifar_layout import ARCHIVES, Archive


class _Python2Pickler(pickle._Pickler):
    """Writes byte strings and NumPy arrays as Python 2 did, as the archives have them."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = "numpy.core.multiarray" if value.__name__ == "_reconstruct" else value.__module__
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[bytes] = save_bytes
    dispatch[type] = save_global
    dispatch[type(len)] = save_global


def write_pickle(path: Path, content: dict[bytes, Any]) -> None:
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(file.getvalue())


def write_archive(root: Path, kind: str, per_class: int) -> tuple[Archive, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """An archive of random images in a random order."""
    archive = ARCHIVES[kind]
    home = root / archive.folder
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"class_{number:03d}".encode() for number in range(archive.classes)]
    write_pickle(home / archive.names, {archive.label_names.encode(): names})
    written = {}
    for split, batches in archive.batches.items():
        labels = rng.permutation(np.repeat(np.arange(archive.classes), per_class * len(batches)))
        data = rng.integers(0, 256, (len(labels), 3072), np.uint8)
        for part, name in enumerate(batches):
            rows = slice(part * len(labels) // len(batches), (part + 1) * len(labels) // len(batches))
            write_pickle(home / name, {archive.labels.encode(): labels[rows].tolist(), b"data": data[rows], b"batch_label": b"of a test"})
        written[split] = (data, labels)
    return archive, written


def cached(cache: Path, repository: str, revision: str = "main") -> Path:
    """The folder in which the hub's client would keep a repository's files."""
    home = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    folder = home / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def state(arch: str, kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Parameters of a model, by the names that timm and thus the published checkpoints give them."""
    torch.manual_seed(len(arch))
    return timm.create_model(arch, **kwargs).state_dict()


def write_hub_model(cache: Path, arch: str, kwargs: dict[str, Any]) -> None:
    """Weights of a model in the hub's cache, as after it was fetched."""
    save_file(state(arch, kwargs), cached(cache, f"timm/{arch}") / "model.safetensors")


def write_cifar_checkpoint(path: Path, arch: str, kwargs: dict[str, Any]) -> None:
    """A checkpoint of the structure of the published CIFAR-100 model: parameters prefixed by `model.`."""
    torch.save({f"model.{key}": value for key, value in state(arch, {**kwargs, "num_classes": 100}).items()}, path)


def write_refinement_checkpoint(path: Path, arch: str, kwargs: dict[str, Any]) -> None:
    """A checkpoint of the structure of the published ViT-Refinement model: under `state_dict`, with further heads."""
    heads = {f"transformerheads.{block}.weight": torch.randn(1000, 3) for block in range(3)}
    torch.save({"epoch": 299, "arch": arch, "state_dict": {**state(arch, kwargs), **heads}}, path)


def write_imagenet_s_50(source: Path, target: Path) -> None:
    """A copy of an ImageNet-S 919 folder of at most 50 classes in the layout of ImageNet-S 50, masks renumbered."""
    categories = Path("data", "categories")
    everything = (source / categories / "ImageNetS_categories_im919.txt").read_text().split()
    folders = sorted(folder.name for folder in (source / "ImageNetS919" / "validation").iterdir() if folder.is_dir())
    chosen = sorted({*folders, *[name for name in everything if name not in folders][: 50 - len(folders)]})
    (target / categories).mkdir(parents=True)
    (target / categories / "ImageNetS_categories_im50.txt").write_text("\n".join(chosen))
    shutil.copytree(source / "ImageNetS919", target / "ImageNetS50")
    new_ids = np.arange(65536)
    new_ids[1 : len(everything) + 1] = [chosen.index(name) + 1 if name in chosen else 0 for name in everything]
    for path in (target / "ImageNetS50" / "validation-segmentation").rglob("*.png"):
        mask = np.asarray(Image.open(path).convert("RGB")).astype(np.int64)
        ids = new_ids[mask[..., 0] + 256 * mask[..., 1]]
        Image.fromarray(np.stack([ids % 256, ids // 256, mask[..., 2]], axis=-1).astype(np.uint8)).save(path)
