"""The programs that make figures and tables: every one reads measures of some models, makes a table for people, and may draw it."""

import argparse
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa

from classlens import cli, series, storage
from classlens.protocol import Protocol
from classlens.series import Series

Inputs = dict[str, list[pa.Table]]
"""Tables besides the series' own, by name: one per model, or none where some model lacks it."""

Data = Callable[[list[Series], Inputs, Protocol, int], pl.DataFrame]
"""Makes a figure's or table's numbers from series, further inputs, protocol and seed."""


def parser(description: str | None, inputs: tuple[str, ...]) -> argparse.ArgumentParser:
    """The arguments of a program that shows measures of models, besides where it writes."""
    result = cli.parser(description)
    series.add_arguments(result)
    for name in inputs:
        result.add_argument(f"--{name}", type=Path, nargs="*", default=[], help=f"{name.replace('-', ' ')} of each model")
    result.add_argument("--csv", type=Path, required=True, help="table to write")
    return result


def table(args: argparse.Namespace, data: Data, inputs: tuple[str, ...]) -> pl.DataFrame:
    """What `data` makes of a program's arguments, with the protocol and the seed in every row.

    Raises:
        InputError: a file is damaged.
    """
    read = {name: [storage.read_table(path) for path in getattr(args, name.replace("-", "_"))] for name in inputs}
    frame = data(series.from_arguments(args), read, Protocol.named(args.protocol), args.seed)
    return frame.with_columns(pl.lit(args.seed).alias("seed"), pl.lit(args.protocol).alias("protocol"))


def write_table(description: str | None, data: Data, inputs: tuple[str, ...] = ()) -> None:
    """The whole program of a table."""

    def main(args: argparse.Namespace) -> None:
        storage.write_csv(table(args, data, inputs), args.csv)

    cli.run(main, parser(description, inputs).parse_args())
