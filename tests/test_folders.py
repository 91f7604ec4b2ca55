"""Planning a data set again: folders that have not changed are not listed again, and whatever has changed is found."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import small_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classlens.config.plan import Plan
from classlens.config.planned_dataset import PlannedDataset
from classlens.config.reading import resolve
from classlens.data.layouts import Dataset
from classlens.errors import InputError
from classlens.storage import fingerprints, folders
from classlens.storage.fingerprints import Fingerprints


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has all changes of folders lie so far back that another one would get another time."""
    now = time.time_ns
    monkeypatch.setattr(folders.time, "time_ns", lambda: now() + 3600 * 10**9)


def photo(path: Path) -> None:
    """Planning opens no image, but hashes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())


def tree(root: Path, **more: Any) -> Path:
    for name in ("ant/0.png", "ant/1.png", "bee/0.png", "bee/in/1.png"):
        photo(root / "validation" / name)
    return root


def plan(root: Path, memory: Path | None, **more: Any) -> PlannedDataset:
    """The data set as the next command plans it."""
    data = {"kind": "imagefolder", "root": str(root), "images_per_class": None, **more}
    config = small_config(datasets={"d": data}, analyses=["identifiability"])
    return Plan(resolve(config), "results/small", memory=memory).datasets["d"]


def count(root: Path, memory: Path | None, **more: Any) -> int:
    return plan(root, memory, **more).image_count("validation")


def tick(folder: Path) -> None:
    """Wait until the file system gives the next change another time."""
    mark = folder / "mark"
    mark.touch()
    began = mark.stat().st_mtime_ns
    while mark.stat().st_mtime_ns == began:
        mark.write_bytes(b"")


def refuse(*_: Any) -> None:
    raise AssertionError("the folders were listed again")


def test_unchanged_folders_are_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None) -> None:
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    assert count(root, memory) == 4
    monkeypatch.setattr(Dataset, "parts", refuse)
    assert count(root, memory) == 4
    with pytest.raises(AssertionError, match="listed again"):
        count(root, memory, images_per_class=1)


def replace(folder: Path) -> None:
    """Put another folder in the place of one, with its date."""
    stat = folder.stat()
    shutil.copytree(folder, folder.with_name("other"))
    photo(folder.with_name("other") / "more.png")
    shutil.rmtree(folder)
    folder.with_name("other").rename(folder)
    os.utime(folder, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def link(file: Path, target: Path) -> None:
    photo(target)
    file.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "an image more": lambda home: photo(home / "ant/2.png"),
    "an image less": lambda home: (home / "ant/1.png").unlink(),
    "an image renamed to no image": lambda home: (home / "ant/1.png").rename(home / "ant/1.txt"),
    "an image moved to a nested folder": lambda home: (home / "ant/1.png").rename(home / "bee/in/2.png"),
    "a nested image more": lambda home: photo(home / "bee/in/2.png"),
    "a nested folder more": lambda home: photo(home / "bee/in/deep/2.png"),
    "a nested folder less": lambda home: shutil.rmtree(home / "bee/in"),
    "a class more": lambda home: photo(home / "cat/0.png"),
    "a class less": lambda home: shutil.rmtree(home / "ant"),
    "a class renamed to a hidden folder": lambda home: (home / "ant").rename(home / ".ant"),
    "another folder of the same date": lambda home: replace(home / "ant"),
    "an image more under the same date": lambda home: (photo(home / "ant/2.png"), os.utime(home / "ant", (1, 1))),
    "a link to an image": lambda home: link(home / "ant/2.png", home.parent / "elsewhere.png"),
    "a link to a folder": lambda home: (photo(home.parent / "x/0.png"), (home / "bee/x").symlink_to(home.parent / "x")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_of_folders_is_found(tmp_path: Path, what: str, later: None) -> None:
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    os.utime(root / "validation" / "ant", (1, 1))
    before = count(root, memory)
    tick(tmp_path)
    CHANGES[what](root / "validation")
    after = count(root, memory)
    assert after == count(root, None)
    assert after != before or "moved" in what


@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changes_one_after_another_are_found(tmp_path_factory: pytest.TempPathFactory, later: None, changes: list[str]) -> None:
    home = tmp_path_factory.mktemp("changes")
    root, memory = tree(home / "images"), home / "memory.json"
    for what in changes:
        tick(home)
        try:
            CHANGES[what](root / "validation")
        except OSError:  # what it changes is no longer there
            continue
        assert answer(root, memory) == answer(root, None)


def answer(root: Path, memory: Path | None) -> object:
    try:
        data = plan(root, memory)
        return data.image_count("validation"), data.manifest_content("validation")
    except InputError as error:
        return str(error)


def test_the_target_of_a_link_may_go(tmp_path: Path, later: None) -> None:
    root, memory, target = tree(tmp_path / "images"), tmp_path / "memory.json", tmp_path / "elsewhere.png"
    link(root / "validation/ant/2.png", target)
    assert count(root, memory, on_bad_image="skip") == 5
    target.unlink()
    assert count(root, memory, on_bad_image="skip") == 4


def test_masks_that_go_are_missed(tmp_path: Path, later: None) -> None:
    root, memory, masks = tree(tmp_path / "images"), tmp_path / "memory.json", tmp_path / "masks"
    shutil.copytree(root, masks)
    assert count(root, memory, masks=str(masks)) == 4
    tick(tmp_path)
    (masks / "validation/bee/in/1.png").unlink()
    with pytest.raises(InputError, match=r"1 of 4 images in \S+ have no mask, such as validation/bee/in/1.png"):
        count(root, memory, masks=str(masks))
    assert count(root, memory, masks=str(masks), on_bad_image="skip") == 4
    shutil.rmtree(masks / "validation/bee")
    with pytest.raises(InputError, match="2 of 4 images"):
        count(root, memory, masks=str(masks))


def test_a_change_at_the_time_of_the_listing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock with ticks of two seconds, and no change times: the folder's stamp stays the same."""
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    began = time.time_ns()
    monkeypatch.setattr(folders, "_stamp", lambda folder: [os.stat(folder).st_ino, began, began])
    assert count(root, memory) == 4
    photo(root / "validation/ant/2.png")
    assert count(root, memory) == 5


def test_folders_without_stable_inodes_are_listed_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None) -> None:
    root, memory, inodes = tree(tmp_path / "images"), tmp_path / "memory.json", iter(range(1000))
    monkeypatch.setattr(folders, "_stamp", lambda folder: [next(inodes), 1, 1])
    assert count(root, memory) == 4
    photo(root / "validation/ant/2.png")
    assert count(root, memory) == 5


def test_folders_without_dates_are_noticed_before_results_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None) -> None:
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    monkeypatch.setattr(folders, "_stamp", lambda folder: [1, 1, 1])
    assert count(root, memory) == 4
    photo(root / "validation/ant/2.png")
    data = plan(root, memory)
    with pytest.raises(InputError, match="validation has 5 images, and had 4 before: run the workflow again"):
        data.manifest_content("validation")
    assert count(root, memory) == 5


def test_damaged_notes_are_no_notes(tmp_path: Path, later: None) -> None:
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    count(root, memory)
    (tmp_path / "folders.json").write_text("{ cut short")
    assert count(root, memory) == 4


# Contents


@pytest.fixture
def groups_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "GROUP", 2)


def test_only_groups_with_a_changed_file_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups_of_two: None) -> None:
    names = [f"{number}.png" for number in range(100)]
    for name in names:
        photo(tmp_path / "images" / name)
    read: list[str] = []
    sha256 = fingerprints.sha256
    monkeypatch.setattr(fingerprints, "sha256", lambda path: (read.append(path), sha256(path))[1])

    def digest(paths: list[str] = names) -> str:
        read.clear()
        return Fingerprints(tmp_path / "memory.json").of_many(tmp_path / "images", "x", paths)

    before = digest()
    assert len(read) == 100
    assert digest() == before
    assert not read
    (tmp_path / "images" / "50.png").write_bytes(b"changed")
    changed = digest()
    assert changed != before
    assert 0 < len(read) < 30
    assert digest(names[:10] + names[11:]) not in (before, changed)
    assert len(read) < 30
    assert digest([*names, "none.png"]) != changed


def test_a_group_with_a_changed_file_that_a_job_finds_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that keeps no change time, where the stamp of the changed file is that of the old one."""
    memory, file = tmp_path / "memory.json", tmp_path / "0.png"
    monkeypatch.setenv("CLASSLENS_FINGERPRINTS", str(memory))
    monkeypatch.setattr(fingerprints, "_stamp", lambda path: [1, 1, 1, 1])
    photo(file)
    before = Fingerprints(memory).of_many(tmp_path, "x", ["0.png"])
    file.write_bytes(b"changed")
    assert Fingerprints(memory).of_many(tmp_path, "x", ["0.png"]) == before
    fingerprints.forget(file)
    for _ in range(2):
        assert Fingerprints(memory).of_many(tmp_path, "x", ["0.png"]) != before
    assert not list(memory.with_suffix(".forgotten").iterdir())


def test_the_content_of_images_does_not_depend_on_what_is_remembered(tmp_path: Path, groups_of_two: None) -> None:
    root, memory = tree(tmp_path / "images"), tmp_path / "memory.json"
    contents = [plan(root, memory).manifest_content("validation") for _ in range(2)]
    assert contents == [plan(root, None).manifest_content("validation")] * 2
    moved = root.rename(tmp_path / "moved")
    assert plan(moved, memory).manifest_content("validation") == contents[0]
