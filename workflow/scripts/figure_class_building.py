"""Draw F5: change rates of sub-layers and residual composition, for one model."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, series, storage
from classlens.figures import canvas, class_building
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    canvas.add_arguments(parser)
    parser.add_argument("--composition", type=Path, required=True, help="residual composition per image")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    (model,) = series.from_arguments(args)
    composition = pl.DataFrame(storage.read_table(args.composition))
    canvas.save(class_building.data(model, composition, Protocol.named(args.protocol), args.seed), class_building.draw, args)


if __name__ == "__main__":
    cli.run(main, arguments())
