"""Put the predictions of all shards of a split into one table."""

import argparse
from pathlib import Path

import pyarrow as pa

from classlens import cli, storage


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="predictions of the shards, in order")
    parser.add_argument("--predictions", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    shards = [storage.read_table(path) for path in args.shards]
    model_sha256 = shards[0].schema.metadata[b"model_sha256"].decode()
    storage.write_table(args.predictions, pa.concat_tables(shards), cli.provenance(args, model_sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
