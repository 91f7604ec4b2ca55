"""Write T4: whether sub-layers raise the class more at class than at context tokens."""

import argparse
from pathlib import Path

from classlens import cli, series, storage
from classlens.protocol import Protocol
from classlens.tables import context_difference


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    series.add_arguments(parser)
    parser.add_argument("--csv", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    storage.write_csv(context_difference.data(series.from_arguments(args), Protocol.named(args.protocol), args.seed), args.csv)


if __name__ == "__main__":
    cli.run(main, arguments())
