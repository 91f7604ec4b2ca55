"""Compute deletion curves and the areas under them, with intervals, from the correctness of every image."""

import json
import math
from argparse import Namespace

import polars as pl

import cli
from classlens.analyses import deletion_curves
from classlens.config.steps import StatisticsStep
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return cli.Parser(__doc__, StatisticsStep).one(
        deletion="correctness per image", curves="table to write", area="table to write", differences="table to write"
    )


def main(args: Namespace, settings: StatisticsStep) -> None:
    table = parquet.read_table(args.deletion)
    metadata = table.schema.metadata
    removed, image_tokens = json.loads(metadata[b"removed"]), math.prod(json.loads(metadata[b"grid"]))
    measured = (pl.DataFrame(table), removed, image_tokens, Protocol.named(settings.protocol), settings.seed)
    curves, areas = deletion_curves.tables(*measured)
    differences = deletion_curves.differences(*measured)
    of_images = {name: metadata[name.encode()].decode() for name in ("grid", "classes")}
    provenance = {**cli.provenance(settings, metadata[b"model_sha256"].decode()), **of_images}
    parquet.write_table(args.curves, curves.to_arrow(), provenance)
    parquet.write_table(args.area, areas.to_arrow(), provenance)
    parquet.write_table(args.differences, differences.to_arrow(), provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
