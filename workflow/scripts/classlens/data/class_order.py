"""The order of classes: the index of each class, from the names of class folders or from a file that lists them.

A model's outputs have no names. If classes have another order here than in the model's training, every result is wrong but looks plausible.
torchvision sorts folders as text (0, 1, 10, 11, 2), timm by the numbers in their names (0, 1, 2, 10, 11).
"""

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from classlens.data.text_files import lines_of, read_text
from classlens.errors import InputError, printable

ORDERS = ("torchvision", "timm")


@dataclass(frozen=True)
class ClassOrder:
    """The source of the class indices of a data set.

    Attributes:
        basis: `list` (a file, or the data set itself), `imagenet`, `timm` or `torchvision` (from the config), or `natural` (the default).
        differs: for `natural`, the first index at which natural and text order differ, with the class name in natural and in text order;
            None if both orders agree.
        gap: for integer labels of a table, the first integer that is missing below the largest; None without gaps.
    """

    basis: str
    differs: tuple[int, str, str] | None = None
    gap: int | None = None


def natural_key(name: str) -> list[str | int]:
    """Return timm's sort key of a name: runs of digits compare as numbers, letters in lower case.

    Source: `timm.utils.misc.natural_key`, which fails for digits that are not numbers (superscripts). Here they compare as letters.
    """
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name.lower()))]


def in_order(names: Iterable[str], order: str | None) -> list[str]:
    """Return names in text order (`torchvision`) or natural order (`timm`, None).

    Names that differ only in case or leading zeros have no natural order. They come in reverse text order, so that `first_difference`
    finds them.

    Raises:
        InputError: the order is `timm`, and two names have no order in it.
    """
    if order == "torchvision":
        return sorted(names)
    result = sorted(sorted(names, reverse=True), key=natural_key)
    equal = [pair for pair in zip(result[1:], result, strict=False) if natural_key(pair[0]) == natural_key(pair[1])]
    if order == "timm" and equal:
        raise InputError(
            f"class folders {equal[0][0]} and {equal[0][1]} have no order in timm, which ignores case and leading zeros: list the classes "
            "in a file (`classes`)"
        )
    return result


def first_difference(names: Iterable[str]) -> tuple[int, str, str] | None:
    """Return the first index at which natural and text order differ, with the name in each order, or None if they agree."""
    names = list(names)
    pairs = zip(in_order(names, None), in_order(names, "torchvision"), strict=True)
    return next(((index, natural, text) for index, (natural, text) in enumerate(pairs) if natural != text), None)


def are_numbers(ids: Iterable[str]) -> bool:
    """Return whether all ids are integers from 0, without leading zeros."""
    return all(re.fullmatch(r"0|[1-9][0-9]{0,8}", one) for one in ids)


def first_gap(ids: Iterable[str]) -> int | None:
    """Return the first integer that integer ids, which start at 0 or 1, lack below the largest; None without gaps or for other ids."""
    ids = list(ids)
    numbers = set(map(int, ids)) if are_numbers(ids) else set()
    return next((number for number in range(1, max(numbers, default=0)) if number not in numbers), None)


def normal(name: str) -> str:
    """Return a name in Unicode form NFC, for comparisons: macOS writes a letter and its accent as two characters."""
    return unicodedata.normalize("NFC", name)


def check_distinct(names: Iterable[str], where: Path) -> None:
    """Raise an InputError if two names look alike."""
    seen: dict[str, str] = {}
    for name in names:
        if normal(name) in seen:
            raise InputError(f"{where} has two class folders {name} that differ only in how accents are encoded: rename one of them")
        seen[normal(name)] = name


def lacking(names: Iterable[str], of: Iterable[str]) -> str | None:
    """Return the first name in `of` that `names` lacks, or None if it lacks none."""
    known = set(map(normal, names))
    return next((name for name in of if normal(name) not in known), None)


def read_names(path: str) -> list[str]:
    """Return the folder names in a file, one per line, in the order of the class indices.

    Raises:
        InputError: the file cannot be read, or a line is not the name of a class.
    """
    try:
        lines = lines_of(read_text(path))
    except InputError as error:
        raise InputError(f"classes file {error}; `classes` takes `imagenet`, or a file with a folder name per line") from None
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"classes file {path} is empty: it needs a folder name per line, in the order of the model's classes")
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if why := _why_no_class(line, normal(line) in seen):
            raise InputError(f"classes file {path}, line {number} {why}: each line must be the name of one class folder")
        seen.add(normal(line))
    return lines


def _why_no_class(line: str, is_known: bool) -> str | None:
    if not line:
        return "is blank, which would shift the indices of later classes"
    if "/" in line:
        return f"({line}) is a path"
    return f"({line}) appears twice" if is_known else None


def listed_difference(names: Sequence[str], folder: str) -> str:
    """Return a hint if a list has a folder's name in other capitals, or a similar name, or an empty string."""
    other = next((name for name in names if normal(name).casefold() == normal(folder).casefold()), None)
    if other:
        return f" (it lists {other}: names are case-sensitive)"
    near = difflib.get_close_matches(folder, names, n=1, cutoff=0.85)
    return f" (did you mean {printable(near[0])}, which it lists?)" if near else ""


def is_plain(name: str) -> bool:
    """Return whether a name can be that of an entry in a folder, and is not a path to another place."""
    return name not in ("", os.curdir, os.pardir) and "/" not in name and "\0" not in name
