"""The classes of a data set, as its manifests record them."""

import difflib
import json

import pyarrow as pa

from classlens.data.class_order import ClassOrder, normal
from classlens.errors import InputError
from classlens.progress import log


def classes_of(manifest: pa.Table) -> list[tuple[str, str]]:
    """Return (id, name) of every class of a manifest's data set, with or without images, in the order of the class indices."""
    return [(class_id, name) for class_id, name in json.loads(manifest.schema.metadata[b"classes"])]


def order_of(manifest: pa.Table) -> ClassOrder:
    """Return the source of the class indices of a manifest's data set; `list` for a table that does not record it."""
    order = json.loads((manifest.schema.metadata or {}).get(b"class_order", b'{"basis": "list", "differs": null}'))
    return ClassOrder(order["basis"], tuple(order["differs"]) if order["differs"] else None, order.get("gap"))


def class_index(wanted: str | int, classes: list[tuple[str, str]], key: str) -> int:
    """Return the index of a class that a config gives by id, name or index, tried in this order because a name may be a number.

    Args:
        wanted: the value in the config.
        classes: (id, name) of each class; a name may list several names, separated by commas.
        key: the config key of the value.

    Raises:
        InputError: there is no such class, or several classes have that name.
    """
    text = normal(str(wanted))
    found = [index for index, (class_id, _) in enumerate(classes) if normal(class_id) == text]
    found = found or [index for index, (_, name) in enumerate(classes) if text in map(normal, (name, *name.split(", ")))]
    if len(found) > 1:
        ids = ", ".join(classes[index][0] for index in found)
        raise InputError(f"config key `{key}`: {wanted!r} is the name of several classes ({ids}): give one of these ids")
    index = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    if found:
        if isinstance(wanted, int) and wanted != found[0]:
            log.warning("config key `%s`: %r is taken as the name of class %d, not as an index", key, wanted, found[0])
        return found[0]
    if index is not None and index < len(classes):
        return index
    raise InputError(f"config key `{key}`: {wanted!r} is not one of the {len(classes)} classes: {_advice(text, classes)}")


def _advice(text: str, classes: list[tuple[str, str]]) -> str:
    """Return the nearest class for an unknown text, or what may be given."""
    names = {normal(name): name for class_id, all_names in classes for name in (class_id, *all_names.split(", "))}
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.75)
    return f"did you mean {names[near[0]]}?" if near else f"give an id such as {classes[0][0]}, a name, or an index from 0"
