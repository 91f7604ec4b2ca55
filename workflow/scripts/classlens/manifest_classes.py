"""The classes of a data set, as its manifests record them."""

import json
from dataclasses import dataclass

import pyarrow as pa

from classlens.errors import InputError


@dataclass(frozen=True)
class ClassOrder:
    """How the order of a data set's classes was found.

    Attributes:
        basis: `list` (named by the config, or official), `imagenet`, `timm`, `torchvision`, or `natural`: the sorted folders.
        differs: the first index at which folders sorted with numbers in order and folders sorted as text differ, and both names; None
            where they do not.
    """

    basis: str
    differs: tuple[int, str, str] | None = None


def order_of(manifest: pa.Table) -> ClassOrder:
    """Return how the order of a manifest's classes was found; a manifest that does not say so has a settled one."""
    said = json.loads((manifest.schema.metadata or {}).get(b"class_order", b'{"basis": "list", "differs": null}'))
    return ClassOrder(said["basis"], tuple(said["differs"]) if said["differs"] else None)


def classes_of(manifest: pa.Table) -> list[tuple[str, str]]:
    """(id, name) of every class of a manifest's data set, in the order of the class indices, whether it has images or not."""
    return [(class_id, name) for class_id, name in json.loads(manifest.schema.metadata[b"classes"])]


def class_index(wanted: str | int, classes: list[tuple[str, str]], key: str) -> int:
    """Index of the class that a config means by a name, an id or an index.

    Args:
        wanted: what the config says.
        classes: (id, name) of each class; a name may be several, separated by commas.
        key: the key under which the config says it.

    Raises:
        InputError: there is no such class.
    """
    if isinstance(wanted, int) and 0 <= wanted < len(classes):
        return wanted
    for index, (class_id, name) in enumerate(classes):
        if wanted == class_id or wanted in name.split(", "):
            return index
    raise InputError(f"config key `{key}`: {wanted!r} is no class; give an index, an id such as {classes[0][0]}, or a name")
