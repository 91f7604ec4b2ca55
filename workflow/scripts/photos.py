"""Copy the photographs that come with installed packages into folders of classes."""

from argparse import Namespace

import cli
from classlens.config.steps import PhotosStep
from classlens.data import photos


def arguments() -> cli.Parser:
    return cli.Parser(__doc__, PhotosStep).one(folder="folder to write")


def main(args: Namespace, _: PhotosStep) -> None:
    photos.write(args.folder)


if __name__ == "__main__":
    cli.run(main, arguments())
