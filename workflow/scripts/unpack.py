"""Unpack the images of a split that tables store, with their bytes unchanged."""

from argparse import Namespace

import cli
import dataset_cli
from classlens.config.steps import UnpackStep
from classlens.data import unpacking
from classlens.data.table_layout import TableDataset


def arguments() -> cli.Parser:
    return dataset_cli.parser(__doc__, UnpackStep).one(folder="folder of the split to write")


def main(args: Namespace, settings: UnpackStep) -> None:
    dataset = dataset_cli.dataset(args, settings)
    assert isinstance(dataset, TableDataset)
    unpacking.unpack(dataset, settings.split, settings.images_per_class, args.folder)


if __name__ == "__main__":
    cli.run(main, arguments())
