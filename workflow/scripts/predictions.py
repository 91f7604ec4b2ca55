"""Collect the predictions of all shards of a split in one table."""

from argparse import Namespace

import pyarrow as pa

import cli
from classlens.config.settings import ProtocolSetting
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return cli.Parser(__doc__, ProtocolSetting).many(shards="predictions of the shards, in order").one(predictions="table to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    shards = [parquet.read_table(path) for path in args.shards]
    model_sha256 = shards[0].schema.metadata[b"model_sha256"].decode()
    parquet.write_table(args.predictions, pa.concat_tables(shards), cli.provenance(settings, model_sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
