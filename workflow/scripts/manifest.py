"""Write the manifest of a split, after decoding each of its images once."""

from argparse import Namespace

import cli
import dataset_cli
from classlens.config.steps import ManifestStep
from classlens.data import manifest
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = dataset_cli.parser(__doc__, ManifestStep)
    parser.maybe(masks="folder of the masks, or a file of segments", mask_root="folder of the masks that the workflow made")
    return parser.one(manifest="table to write")


def main(args: Namespace, settings: ManifestStep) -> None:
    dataset = dataset_cli.dataset(args, settings, masks=dataset_cli.mask_folder(args), mask_root=args.mask_root)
    table = manifest.build(dataset, settings.split, settings.images_per_class, settings.shard_size, args.threads)
    parquet.write_table(args.manifest, table, cli.provenance(settings))


if __name__ == "__main__":
    cli.run(main, arguments())
