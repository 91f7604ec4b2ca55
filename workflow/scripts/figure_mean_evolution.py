"""Draw F2: mean class identifiability over blocks, for all models."""

import argparse

from classlens import cli, series
from classlens.figures import canvas, mean_evolution
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    canvas.add_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    frame = mean_evolution.data(series.from_arguments(args), Protocol.named(args.protocol), args.seed)
    canvas.save(frame, mean_evolution.draw, args)


if __name__ == "__main__":
    cli.run(main, arguments())
