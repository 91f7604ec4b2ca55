"""Compare a run's tables with the expected numbers."""

from argparse import Namespace

import polars as pl

import cli
from classlens.config.steps import ReproductionStep
from classlens.report import reproduction
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return cli.Parser(__doc__, ReproductionStep).many(tables="tables of the run").one(csv="comparison to write")


def main(args: Namespace, settings: ReproductionStep) -> None:
    tables = {path.stem: pl.read_csv(path) for path in args.tables}
    parquet.write_csv(reproduction.compare(settings.expected, tables), args.csv)


if __name__ == "__main__":
    cli.run(main, arguments())
