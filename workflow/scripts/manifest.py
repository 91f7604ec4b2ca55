"""List a split's images in a manifest, after decoding each of them once."""

import argparse
from pathlib import Path

from classlens import cli, manifest, storage
from classlens.datasets import Dataset
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--kind", choices=["shapes", "imagenet_s", "imagefolder"], required=True, help="layout of the data set")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--subset", type=int, default=919, help="number of classes of an ImageNet-S layout")
    parser.add_argument("--classes", type=cli.optional_text, help="imagenet, or a file with one class folder per line (imagefolder)")
    parser.add_argument("--class-order", type=cli.optional_text, help="torchvision, timm or None: order of folder names (imagefolder)")
    parser.add_argument("--class-splits", nargs="*", default=[], help="splits that share one list of classes, the one that has all first")
    parser.add_argument("--images-per-class", type=cli.optional_int, help="images of each class, None for all")
    parser.add_argument("--masks", type=cli.optional_path, help="folder of the masks")
    parser.add_argument("--on-bad-image", choices=["error", "skip"], default="error", help="what to do with what cannot be used")
    parser.add_argument("--shard-size", type=int, default=512, help="images per shard")
    parser.add_argument("--manifest", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    dataset = Dataset(
        kind=args.kind,
        root=args.root,
        subset=args.subset,
        classes=args.classes,
        class_order=args.class_order,
        class_splits=tuple(args.class_splits),
        masks=args.masks,
        skip=args.on_bad_image == "skip",
        protocol=Protocol.named(args.protocol),
    )
    table = manifest.build(dataset, args.split, args.images_per_class, args.shard_size, args.threads)
    storage.write_table(args.manifest, table, cli.provenance(args))


if __name__ == "__main__":
    cli.run(main, arguments())
