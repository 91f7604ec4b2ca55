"""Write the manifest of a split, after decoding each of its images once."""

from argparse import Namespace

import cli
from classlens.config.steps import ManifestStep
from classlens.data import manifest
from classlens.data.layouts import Dataset
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ManifestStep).one(root="folder of the data set")
    parser.maybe(classes="imagenet, or a file with one class folder per line", masks="folder of the masks")
    return parser.one(manifest="table to write")


def main(args: Namespace, settings: ManifestStep) -> None:
    dataset = Dataset(
        kind=settings.kind,
        root=args.root,
        subset=settings.subset,
        classes=str(args.classes) if args.classes else None,
        class_order=settings.class_order,
        class_splits=tuple(settings.class_splits),
        masks=args.masks,
        skip=settings.on_bad_image == "skip",
        protocol=Protocol.named(settings.protocol),
    )
    table = manifest.build(dataset, settings.split, settings.images_per_class, settings.shard_size, args.threads)
    parquet.write_table(args.manifest, table, cli.provenance(settings))


if __name__ == "__main__":
    cli.run(main, arguments())
