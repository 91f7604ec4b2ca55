"""The files in a data set's folders: class folders, images, and the files that are left out, with the reason.

This module opens no file, because planning lists a whole data set. It recognises a pipe or a device with an image's name by its file type,
so that no program waits for its bytes.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from classlens.errors import InputError
from classlens.storage import folders

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".avif"))
IMAGE_SUFFIXES |= {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx"}
"""Endings of still images that `images.decode` reads, without formats that run a program (EPS, PDF) or match any bytes (TGA)."""

LOST_LINK, NO_FILE, NO_TEXT = "a link that leads nowhere", "not a regular file", "not named in UTF-8"
FAULTS = (LOST_LINK, NO_FILE, NO_TEXT)
"""Reasons why a file with an image's name cannot be an image. Such a file is an error unless bad images may be left out."""


@dataclass
class Listing:
    """The content of a class folder.

    Attributes:
        images: paths of the images, relative to the folder, in the order of the file system.
        left_out: (reason, path) of every other file.
    """

    images: list[str]
    left_out: list[tuple[str, str]]

    @classmethod
    def of(cls, folder: Path, nested: bool) -> "Listing":
        """List the files in a class folder and, if `nested`, in the folders below it, as torchvision and timm find them.

        Raises:
            InputError: a folder cannot be read, or is a link to a folder above it.
        """
        found = cls([], [])
        for path, why in _walk(folder, nested):
            if why is None:
                found.images.append(path)
            else:
                found.left_out.append((why, path))
        return found


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a split's folder, in text order, without hidden folders.

    Raises:
        InputError: the split's folder cannot be read, or a folder in it cannot be a class.
    """
    return sorted(entry.name for entry in _entries(folder) if not _is_hidden(entry) and _is_class_folder(entry))


def _is_class_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder. A broken link is an InputError: without its class, other classes would get other indices."""
    if _fault(entry) == LOST_LINK:
        raise InputError(f"{entry.path} is {LOST_LINK}: correct or remove it")
    if not _is_folder(entry):
        return False
    if not _is_text(entry.name):
        raise InputError(f"class folder {entry.path} is {NO_TEXT}: rename it")
    return True


def beside_class_folders(folder: Path) -> list[tuple[str, str]]:
    """Return (reason, name) of each image that lies directly in a split's folder, outside of the class folders."""
    return [("beside the class folders", entry.name) for entry in _entries(folder) if not _is_folder(entry) and _has_suffix(entry.name)]


def regular_files(folder: Path, nested: bool) -> set[str]:
    """Return the relative paths of the regular files in a folder and, if `nested`, below it; empty if the folder does not exist."""
    if not os.path.isdir(folder):
        folders.reads(folder.parent)
        return set()
    return {path for path, why in _walk(folder, nested) if why not in FAULTS}


def _walk(folder: Path, nested: bool) -> Iterator[tuple[str, str | None]]:
    """Yield the relative path of each file, and why it is not an image, or None. Files of a folder come before files of its subfolders."""
    open_folders = [("", frozenset[tuple[int, int]]())]
    while open_folders:
        inside, above = open_folders.pop()
        above |= {_identity(folder / inside, above)}
        for entry in _entries(folder / inside):
            if _is_plainly_image(entry):
                yield inside + entry.name, None
                continue
            path, fault = inside + entry.name, _fault(entry)
            if _is_hidden(entry):
                yield from [(path, why) for why in _why_hidden(entry)]
            elif not _is_folder(entry):
                yield path, _why_not(entry.name, fault)
            elif nested and not fault:
                open_folders.append((f"{path}/", above))
            else:
                yield path, fault or "a folder"


def _is_plainly_image(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is an image by the usual name and type. It decides nothing else, but quickly: there may be a million."""
    name = entry.name
    suffix = name[name.rfind(".") :].lower()
    return suffix in IMAGE_SUFFIXES and name[0] != "." and name.isascii() and entry.is_file(follow_symlinks=False)


def _identity(folder: Path, above: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return a folder's device and inode.

    Raises:
        InputError: the folder cannot be read, or is a link to a folder above it, in which the walk would never end.
    """
    try:
        stat = os.stat(folder)
    except OSError as error:
        raise _unreadable(folder, error) from None
    identity = stat.st_dev, stat.st_ino
    if identity in above:
        raise InputError(f"{folder} is a link to a folder above it: remove it")
    return identity


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    folders.reads(folder)
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: OSError) -> InputError:
    return InputError(f"folder {folder} cannot be read ({error.strerror}): correct its permissions, or remove it")


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return _fault(entry) != LOST_LINK and entry.is_dir()


def _why_hidden(entry: os.DirEntry[str]) -> list[str]:
    """Return [reason] for a hidden folder or image, or [] for other hidden files, which belong to the system."""
    if _is_folder(entry):
        return ["a hidden folder"]
    return ["hidden"] if _has_suffix(entry.name) else []


def _why_not(name: str, fault: str | None) -> str | None:
    """Return why a file is not an image by its name and type, or None if only its content can tell."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES or (not suffix and fault == LOST_LINK):  # it may have led to a folder of images
        return fault
    return suffix if len(suffix) > 1 else "without an ending"


def _fault(entry: os.DirEntry[str]) -> str | None:
    """Return which of `FAULTS` an entry has, or None for a regular file or a folder with a name in UTF-8."""
    if entry.is_symlink() and not os.path.isdir(entry.path):
        folders.depends_on_more()  # the target may come and go
    try:
        if not (entry.is_file() or entry.is_dir()):
            return LOST_LINK if entry.is_symlink() and not os.path.exists(entry.path) else NO_FILE
    except OSError:  # a loop of links
        return LOST_LINK
    return None if _is_text(entry.name) else NO_TEXT


def _is_text(name: str) -> bool:
    """Return whether a name is valid UTF-8, as tables require."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def counted(left_out: Iterable[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """Return (number of files, reason, first path) for each reason in (reason, path) pairs, the most frequent reason first."""
    places: dict[str, list[str]] = {}
    for why, path in left_out:
        places.setdefault(why, []).append(path)
    return sorted(((len(paths), why, min(paths)) for why, paths in places.items()), key=lambda item: (-item[0], item[1]))
