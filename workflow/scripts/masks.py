"""Make the masks of a split from boxes, from masks with class numbers, or from segments in COCO's form."""

from argparse import Namespace

import cli
import dataset_cli
from classlens.config.steps import MaskStep
from classlens.data import made_masks, manifest


def arguments() -> cli.Parser:
    parser = dataset_cli.parser(__doc__, MaskStep)
    return parser.maybe(masks="folder of the masks, or a file of segments").one(folder="folder to write")


def main(args: Namespace, settings: MaskStep) -> None:
    folder = dataset_cli.mask_folder(args)
    dataset = dataset_cli.dataset(args, settings, masks=folder)
    needs_names = settings.mask_ids is not None or (args.masks is not None and folder is None)
    source = made_masks.MaskSource(
        box_format=settings.box_format,
        coco=None if folder else args.masks,
        values=settings.mask_ids,
        ignored=settings.mask_ignored,
        names=dict(manifest.class_table(dataset, settings.split)) if needs_names else {},
    )
    images = dataset.images(settings.split, settings.images_per_class)
    made_masks.write(images, dataset, source, args.folder, args.threads)


if __name__ == "__main__":
    cli.run(main, arguments())
