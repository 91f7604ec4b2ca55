"""Unpack a split of the official archive of CIFAR-10 or CIFAR-100 into folders of images."""

import argparse
from pathlib import Path

from classlens import cifar, cli
from classlens.cifar_layout import ARCHIVES


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--kind", choices=sorted(ARCHIVES), required=True, help="which data set")
    parser.add_argument("--archive", type=Path, required=True, help="folder of the archive, or the one that holds it")
    parser.add_argument("--download", type=cli.json_argument, default=False, help="fetch it if it is not there (true or false)")
    parser.add_argument("--split", required=True, help="train or test")
    parser.add_argument("--images-per-class", type=cli.optional_int, help="images of each class, None for all")
    parser.add_argument("--folder", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if args.download and ARCHIVES[args.kind].home(args.archive) is None:
        cifar.download(args.kind, args.archive)
    cifar.unpack(args.kind, args.archive, args.split, args.images_per_class, args.folder)


if __name__ == "__main__":
    cli.run(main, arguments())
