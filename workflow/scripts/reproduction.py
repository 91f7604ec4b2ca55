"""Compare a run's tables with the numbers that it should give."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, reproduction, storage


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--expected", type=cli.json_argument, required=True, help="the run's part of config/expected.yaml, as JSON")
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables of the run")
    parser.add_argument("--csv", type=Path, required=True, help="comparison to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    tables = {path.stem: pl.read_csv(path) for path in args.tables}
    storage.write_csv(reproduction.compare(args.expected, tables), args.csv)


if __name__ == "__main__":
    cli.run(main, arguments())
