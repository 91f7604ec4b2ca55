"""Compare each relevance map with the object's mask."""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from classlens import cli, relevance_table, segmentation, storage, tokens
from classlens.card import Card
from classlens.geometry import Geometry
from classlens.images import IGNORED_ID


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--relevance", type=Path, required=True, help="relevance maps")
    parser.add_argument("--segmentation", type=Path, required=True, help="scores per method and image to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card, manifest = Card.read(args.card), storage.read_table(args.manifest)
    rows = [row for row in manifest.to_pylist() if row["mask_path"]]
    maps = relevance_table.true_class_maps(args.relevance, {row["image_id"]: row["class_index"] for row in rows}, card.sha256)
    trivial = segmentation.trivial_maps(card.grid)
    geometry, binary = Geometry(card.transform), manifest.schema.metadata[b"masks"] == b"binary"
    found = []
    for row in cli.progress(rows, len(rows), "segmentation scores"):
        ids = geometry.mask(tokens.read_mask(row, args.root, binary))
        is_object, counts = ids == row["mask_id"], ids != IGNORED_ID
        if not is_object.any():
            continue  # the crop has cut the object off
        values = np.stack(
            [*(relevance[np.searchsorted(images, row["image_id"])] for images, relevance in maps.values()), *trivial.values()]
        )
        enlarged = segmentation.enlarge(values, card.grid, ids.shape)
        scores = [segmentation.Score.of(large, is_object, counts) for large in enlarged]
        found += [
            {"method": method, "image_id": row["image_id"], **asdict(score)}
            for method, score in zip([*maps, *trivial], scores, strict=True)
        ]
    storage.write_table(args.segmentation, pl.DataFrame(found, infer_schema_length=None).to_arrow(), cli.provenance(args, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
