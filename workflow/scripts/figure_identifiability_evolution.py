"""Draw F1: distribution of class identifiability over blocks, one panel per model, tested against random weights."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, series, storage
from classlens.figures import canvas, identifiability_evolution
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    canvas.add_arguments(parser)
    parser.add_argument("--ranks", type=Path, nargs="+", required=True, help="counts of ranks of each model")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    models = series.from_arguments(args)
    ranks = {model.name: pl.DataFrame(storage.read_table(path)) for model, path in zip(models, args.ranks, strict=True)}
    frame = identifiability_evolution.data(models, ranks, Protocol.named(args.protocol), args.seed)
    canvas.save(frame, identifiability_evolution.draw, args)


if __name__ == "__main__":
    cli.run(main, arguments())
