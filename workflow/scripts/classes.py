"""List a data set's classes in the order of their indices, without looking at its images."""

from argparse import Namespace

import cli
import dataset_cli
from classlens.config.steps import ClassListStep
from classlens.data import manifest
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return dataset_cli.parser(__doc__, ClassListStep).one(class_list="table to write")


def main(args: Namespace, settings: ClassListStep) -> None:
    table = manifest.class_list(dataset_cli.dataset(args, settings), settings.split)
    parquet.write_table(args.class_list, table, cli.provenance(settings))


if __name__ == "__main__":
    cli.run(main, arguments())
