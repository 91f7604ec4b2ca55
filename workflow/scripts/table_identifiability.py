"""Write T1: identifiability rate, images with at least one identifiable token, and accuracy of every model."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, series, storage
from classlens.protocol import Protocol
from classlens.tables import identifiability


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predictions of each model")
    parser.add_argument("--csv", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    models = series.from_arguments(args)
    predictions = {model.name: pl.DataFrame(storage.read_table(path)) for model, path in zip(models, args.predictions, strict=True)}
    storage.write_csv(identifiability.data(models, predictions, Protocol.named(args.protocol), args.seed), args.csv)


if __name__ == "__main__":
    cli.run(main, arguments())
