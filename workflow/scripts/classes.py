"""List a data set's classes in the order of their indices, without looking at its images."""

import argparse
from pathlib import Path

from classlens import cli, manifest, storage
from classlens.datasets import Dataset


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--kind", choices=["shapes", "imagenet_s", "imagefolder"], required=True, help="layout of the data set")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--subset", type=int, default=919, help="number of classes of an ImageNet-S layout")
    parser.add_argument("--classes", type=cli.optional_text, help="imagenet, or a file with one class folder per line (imagefolder)")
    parser.add_argument("--class-order", type=cli.optional_text, help="torchvision, timm or None: order of folder names (imagefolder)")
    parser.add_argument("--class-splits", nargs="*", default=[], help="splits that share one list of classes, the one that has all first")
    parser.add_argument("--class-list", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    dataset = Dataset(
        kind=args.kind,
        root=args.root,
        subset=args.subset,
        classes=args.classes,
        class_order=args.class_order,
        class_splits=tuple(args.class_splits),
    )
    storage.write_table(args.class_list, manifest.class_list(dataset, args.split), cli.provenance(args))


if __name__ == "__main__":
    cli.run(main, arguments())
