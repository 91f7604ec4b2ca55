"""The classes of a data set, as its manifests record them."""

import json

import pyarrow as pa

from classlens.errors import InputError


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
