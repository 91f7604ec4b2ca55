"""Unpack a split of the official archive of CIFAR-10 or CIFAR-100 into folders of images."""

from argparse import Namespace

import cli
from classlens.config.steps import ArchiveStep, DownloadSetting
from classlens.data import cifar
from classlens.data.cifar_layout import ARCHIVES


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ArchiveStep, network=DownloadSetting)
    return parser.one(archive="folder of the archive, or its parent folder", folder="folder to write")


def main(args: Namespace, settings: ArchiveStep) -> None:
    if args.network.download and ARCHIVES[settings.kind].home(args.archive) is None:
        cifar.download(settings.kind, args.archive)
    cifar.unpack(settings.kind, args.archive, settings.split, settings.images_per_class, args.folder)


if __name__ == "__main__":
    cli.run(main, arguments())
