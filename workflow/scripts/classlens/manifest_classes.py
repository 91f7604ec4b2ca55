"""The classes of a data set, as its manifests record them."""

import json

import pyarrow as pa


def classes_of(manifest: pa.Table) -> list[tuple[str, str]]:
    """(id, name) of every class of a manifest's data set, in the order of the class indices, whether it has images or not."""
    return [(class_id, name) for class_id, name in json.loads(manifest.schema.metadata[b"classes"])]
