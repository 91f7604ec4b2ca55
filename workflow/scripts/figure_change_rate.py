"""Draw F3: share of image tokens whose class logit grows in each block, for all models."""

import argparse

from classlens import cli, series
from classlens.figures import canvas, change_rate
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    canvas.add_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    frame = change_rate.data(series.from_arguments(args), Protocol.named(args.protocol), args.seed)
    canvas.save(frame, change_rate.draw, args)


if __name__ == "__main__":
    cli.run(main, arguments())
