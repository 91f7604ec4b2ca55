"""The official archives of CIFAR-10 and CIFAR-100: unpacked without executing anything, and planned without reading them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published_files import write_archive

from classlens.data import cifar
from classlens.data.cifar_layout import ARCHIVES
from classlens.errors import InputError


@pytest.mark.parametrize("kind", sorted(ARCHIVES))
@pytest.mark.parametrize("inside", [True, False])
def test_the_first_images_of_each_class_are_written_as_they_are(tmp_path: Path, kind: str, inside: bool) -> None:
    archive, written = write_archive(tmp_path, kind, 3)
    for split, count in (("test", 2), ("train", 1)):
        cifar.unpack(kind, tmp_path / archive.folder if inside else tmp_path, split, count, tmp_path / "images" / split)
        data, labels = written[split]
        for label in range(archive.classes):
            files = sorted((tmp_path / "images" / split / f"class_{label:03d}").iterdir())
            numbers = np.flatnonzero(labels == label)[:count]
            assert [file.stem for file in files] == [f"{number:05d}" for number in numbers]
            pixels = np.asarray(Image.open(files[0])).transpose(2, 0, 1).ravel()
            assert np.array_equal(pixels, data[numbers[0]])


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/classlens-was-harmed"),)


def test_nothing_in_an_archive_is_executed(tmp_path: Path) -> None:
    archive, _ = write_archive(tmp_path, "cifar100", 1)
    (tmp_path / archive.folder / "test").write_bytes(pickle.dumps({b"data": Harmful()}, protocol=2))
    with pytest.raises(InputError, match=r"test is not a file of the official Python archive \(it refers to"):
        cifar.unpack("cifar100", tmp_path, "test", 1, tmp_path / "images")
    assert not Path("/tmp/classlens-was-harmed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a file of the official Python archive"),
        (pickle.dumps([1]), "it holds no dictionary"),
        (pickle.dumps({b"data": [[1]]}), "has no `fine_labels`"),
        (pickle.dumps({b"data": [[1]], b"fine_labels": [1]}), "does not hold 32 x 32 colour images"),
    ],
)
def test_damaged_archives(tmp_path: Path, content: bytes, message: str) -> None:
    archive, _ = write_archive(tmp_path, "cifar100", 1)
    (tmp_path / archive.folder / "test").write_bytes(content)
    with pytest.raises(InputError, match=message):
        cifar.unpack("cifar100", tmp_path, "test", 1, tmp_path / "images")


def test_missing_files_and_images(tmp_path: Path) -> None:
    archive, _ = write_archive(tmp_path, "cifar10", 1)
    with pytest.raises(InputError, match="has too few images in test"):
        cifar.unpack("cifar10", tmp_path, "test", 2, tmp_path / "images")
    (tmp_path / archive.folder / "data_batch_3").unlink()
    with pytest.raises(InputError, match="data_batch_3 is missing"):
        cifar.unpack("cifar10", tmp_path, "train", 1, tmp_path / "images")
    with pytest.raises(InputError, match="holds no cifar-100-python"):
        cifar.unpack("cifar100", tmp_path, "test", 1, tmp_path / "images")


@pytest.mark.parametrize("name", ["a/../../../x", "..", "", b"\xff/x"])
def test_names_of_classes_that_are_no_names_of_folders(tmp_path: Path, name: Any) -> None:
    archive, _ = write_archive(tmp_path, "cifar10", 1)
    names = sorted([f"b{i}" for i in range(9)] + [name], key=str)
    for content in (names, 3, None):
        (tmp_path / archive.folder / archive.names).write_bytes(pickle.dumps({b"label_names": content}))
        with pytest.raises(InputError, match="does not name the 10 classes"):
            cifar.unpack("cifar10", tmp_path, "test", 1, tmp_path / "home" / "images")
    assert not (tmp_path / "home").exists()


def test_images_are_counted_without_reading_the_archive() -> None:
    assert ARCHIVES["cifar100"].count("test", 5) == 500
    assert ARCHIVES["cifar10"].count("train", None) == 50000
    with pytest.raises(InputError, match="has 100 images of each class in test, but the config needs 101"):
        ARCHIVES["cifar100"].count("test", 101)
    with pytest.raises(InputError, match="has no split 'validation'"):
        ARCHIVES["cifar100"].count("validation", 1)


def test_an_archive_that_cannot_be_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", refuse)
    with pytest.raises(InputError, match=r"cifar-100-python.tar.gz cannot be downloaded \(no network\)"):
        cifar.download("cifar100", tmp_path)
