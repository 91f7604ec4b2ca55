"""Make deletion curves and the areas under them, with intervals, from the correctness of every image."""

import argparse
import json
import math
from pathlib import Path

import polars as pl

from classlens import cli, deletion_curves, storage
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--deletion", type=Path, required=True, help="correctness per image")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--curves", type=Path, required=True, help="table to write")
    parser.add_argument("--area", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    table = storage.read_table(args.deletion)
    metadata = table.schema.metadata
    removed, image_tokens = json.loads(metadata[b"removed"]), math.prod(json.loads(metadata[b"grid"]))
    curves, areas = deletion_curves.tables(pl.DataFrame(table), removed, image_tokens, Protocol.named(args.protocol), args.seed)
    of_images = {name: metadata[name.encode()].decode() for name in ("grid", "classes")}
    provenance = {**cli.provenance(args, metadata[b"model_sha256"].decode()), **of_images}
    storage.write_table(args.curves, curves.to_arrow(), provenance)
    storage.write_table(args.area, areas.to_arrow(), provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
