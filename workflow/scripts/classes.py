"""List a data set's classes in the order of their indices, without looking at its images."""

from argparse import Namespace

import cli
from classlens.config.steps import ClassListStep
from classlens.data import manifest
from classlens.data.layouts import Dataset
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ClassListStep).one(root="folder of the data set")
    return parser.maybe(classes="imagenet, or a file with one class folder per line").one(class_list="table to write")


def main(args: Namespace, settings: ClassListStep) -> None:
    dataset = Dataset(
        kind=settings.kind,
        root=args.root,
        subset=settings.subset,
        classes=str(args.classes) if args.classes else None,
        class_order=settings.class_order,
        class_splits=tuple(settings.class_splits),
    )
    parquet.write_table(args.class_list, manifest.class_list(dataset, settings.split), cli.provenance(settings))


if __name__ == "__main__":
    cli.run(main, arguments())
