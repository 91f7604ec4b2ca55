"""The classes of a data set, as its manifests record them."""

import json

import pyarrow as pa

from classlens.data.class_order import ClassOrder, normal
from classlens.errors import InputError
from classlens.progress import log


def classes_of(manifest: pa.Table) -> list[tuple[str, str]]:
    """(id, name) of every class of a manifest's data set, in the order of the class indices, whether it has images or not."""
    return [(class_id, name) for class_id, name in json.loads(manifest.schema.metadata[b"classes"])]


def order_of(manifest: pa.Table) -> ClassOrder:
    """Return how the class indices of a manifest's data set were settled; a table that does not say so has settled ones."""
    order = json.loads((manifest.schema.metadata or {}).get(b"class_order", b'{"basis": "list", "differs": null}'))
    return ClassOrder(order["basis"], tuple(order["differs"]) if order["differs"] else None)


def class_index(wanted: str | int, classes: list[tuple[str, str]], key: str) -> int:
    """Index of the class that a config means by an id, a name or an index; in that order, since a class may be named like an index.

    Args:
        wanted: what the config says.
        classes: (id, name) of each class; a name may be several, separated by commas.
        key: the key under which the config says it.

    Raises:
        InputError: there is no such class, or several have that name.
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
    raise InputError(f"config key `{key}`: {wanted!r} is no class; give an id such as {classes[0][0]}, a name, or an index")
