"""Compare each relevance map with the object's mask."""

from argparse import Namespace
from dataclasses import asdict

import numpy as np
import polars as pl

import cli
from classlens.analyses import relevance_table, segmentation, tokens
from classlens.config.settings import ProtocolSetting
from classlens.data.geometry import Geometry
from classlens.data.images import IGNORED_ID
from classlens.models.card import Card
from classlens.progress import progress
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).one(manifest="manifest of the split", root="folder of the data set")
    return parser.one(card="model.json of the model", relevance="relevance maps", segmentation="scores per method and image to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    card, manifest = Card.read(args.card), parquet.read_table(args.manifest)
    rows = [row for row in manifest.to_pylist() if row["mask_path"]]
    maps = relevance_table.true_class_maps(args.relevance, {row["image_id"]: row["class_index"] for row in rows}, card.sha256)
    trivial = segmentation.trivial_maps(card.grid)
    geometry, binary = Geometry(card.transform), manifest.schema.metadata[b"masks"] == b"binary"
    found = []
    for row in progress(rows, len(rows), "segmentation scores"):
        ids = geometry.mask(tokens.read_mask(row, args.root, binary))
        is_object, counts = ids == row["mask_id"], ids != IGNORED_ID
        if not is_object.any():
            continue  # the object lies outside the crop
        values = np.stack(
            [*(relevance[np.searchsorted(images, row["image_id"])] for images, relevance in maps.values()), *trivial.values()]
        )
        enlarged = segmentation.enlarge(values, card.grid, ids.shape)
        scores = [segmentation.Score.of(large, is_object, counts) for large in enlarged]
        found += [
            {"method": method, "image_id": row["image_id"], **asdict(score)}
            for method, score in zip([*maps, *trivial], scores, strict=True)
        ]
    parquet.write_table(args.segmentation, pl.DataFrame(found, infer_schema_length=None).to_arrow(), cli.provenance(settings, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
