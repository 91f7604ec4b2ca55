"""Draw F4: class identifiability of class and of context tokens, for one model."""

import argparse

from classlens import cli, series
from classlens.figures import canvas, class_vs_context
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    canvas.add_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    (model,) = series.from_arguments(args)
    canvas.save(class_vs_context.data(model, Protocol.named(args.protocol), args.seed), class_vs_context.draw, args)


if __name__ == "__main__":
    cli.run(main, arguments())
