"""Write a table over some models.

The first argument is the table's name, such as deletion_area. The other arguments depend on it.
"""

from argparse import Namespace
from importlib import import_module

import cli
from classlens.config.catalogue import TABLES, Item
from classlens.config.steps import TableStep
from classlens.presentation.numbers import numbers
from classlens.storage import parquet


def arguments(table: Item) -> cli.Parser:
    parser = cli.Parser(f"{table.letter}: {table.title}", TableStep)
    return parser.many(**{name: f"{path}, of each model" for name, path in table.inputs.items()}).one(csv="table to write")


def main(table: Item, args: Namespace, settings: TableStep) -> None:
    module = import_module(f"classlens.tables.{table.name}")
    inputs = {name: getattr(args, name) for name in table.inputs}
    parquet.write_csv(
        numbers(module.data, inputs, [model.model_dump() for model in settings.models], settings.protocol, settings.seed), args.csv
    )


if __name__ == "__main__":
    cli.run_named(TABLES, arguments, main)
