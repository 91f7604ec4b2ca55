"""Names of classes for people, from a file or from WordNet. Class ids stay the names of folders, or the labels in tables."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from classlens.data.class_order import normal
from classlens.data.layouts import imagenet_id
from classlens.data.text_files import lines_of, read_text
from classlens.errors import InputError, printable

LONGEST_NAME = 200
"""Maximum number of characters of a class name."""


def class_names(ids: Sequence[str], file: Path | None) -> list[str]:
    """Return the name of each class.

    Without a file, an ImageNet id at the start of a class id becomes its words in WordNet, or is removed if WordNet lacks it. Underscores
    become spaces.

    Args:
        ids: class ids in the order of the class indices.
        file: file with the names, or None.

    Raises:
        InputError: the file cannot be read, or does not name a class.
    """
    return _listed(ids, file) if file else _from_ids(ids)


def _from_ids(ids: Sequence[str]) -> list[str]:
    words = _words({found for class_id in ids if (found := imagenet_id(class_id))})
    return [words.get(imagenet_id(class_id) or "") or _rest(class_id) for class_id in ids]


def _words(imagenet_ids: set[str]) -> dict[str, str]:
    """Return the words of WordNet ids that timm knows."""
    if not imagenet_ids:
        return {}
    from timm.data import ImageNetInfo  # imported here, because it imports torch, which most image folders do not need

    info, found = ImageNetInfo("imagenet-22k"), {}
    for one in imagenet_ids:
        try:
            found[one] = info.label_name_to_description(one)
        except KeyError:
            continue
    return found


def _rest(class_id: str) -> str:
    """Return a class id as words, without an ImageNet id before other characters."""
    return re.sub(r"^n\d{8}[_ -]+(?=.)", "", class_id).replace("_", " ")


def _listed(ids: Sequence[str], file: Path) -> list[str]:
    """Return the names in a file, by class id or in the order of the classes."""
    text = read_text(file)
    found, in_order = _json(file, text) if text.lstrip().startswith(("{", "[")) else _lines(text, ids)
    by_id = {normal(key): name for key, name in found.items()}
    missing = next((class_id for class_id in ids if normal(class_id) not in by_id), None)
    if missing is None:
        names = [by_id[normal(class_id)] for class_id in ids]
    elif len(in_order) == len(ids):
        names = in_order
    else:
        raise InputError(
            f"names file {file} does not name the class {printable(missing)}, nor the {len(ids)} classes in order ({len(in_order)} lines): "
            "each line must be `ID NAME`, or the name of one class"
        )
    if bad := next((name for name in names if len(name) > LONGEST_NAME or not name.isprintable()), None):
        raise InputError(f"names file {file} has the name {bad[:40]!r}, which is too long or has control characters: correct it")
    if "" in names:
        raise InputError(f"names file {file} has no name for the class {printable(ids[names.index('')])}: add it")
    return names


def _json(file: Path, text: str) -> tuple[dict[str, str], list[str]]:
    """Return the names in JSON by class id, and as a list. Values may be pairs of id and name, as in ImageNet's class index."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"names file {file} is not valid JSON: correct it") from None
    pairs = [*content.items()] if isinstance(content, dict) else [(str(number), name) for number, name in enumerate(content)]
    pairs = [(name[0], name[1]) if isinstance(name, list) and len(name) == 2 else (key, name) for key, name in pairs]
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise InputError(f"names file {file} must map each class id to a name: correct it")
    return dict(pairs), [name for _, name in pairs] if isinstance(content, list) else []


def _lines(text: str, ids: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the names in lines of id and name, by class id, and all lines as a list."""
    lines = lines_of(text)
    while lines and not lines[-1]:
        lines.pop()
    known = set(map(normal, ids))
    found: dict[str, str] = {}
    for line in lines:
        for separator in ("\t", ",", " "):
            key, _, name = line.partition(separator)
            if name and normal(key.strip()) in known:
                found.setdefault(key.strip(), name.strip())
                break
    return found, lines
