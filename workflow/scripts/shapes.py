"""Generate the demo's data set of shapes, in the folder layout of ImageNet-S."""

from argparse import Namespace

import cli
from classlens.config.steps import ShapesStep
from classlens.data import shapes


def arguments() -> cli.Parser:
    return cli.Parser(__doc__, ShapesStep).one(root="folder to write")


def main(args: Namespace, settings: ShapesStep) -> None:
    shapes.write(args.root, settings.num_classes, settings.splits, settings.seed, args.threads)


if __name__ == "__main__":
    cli.run(main, arguments())
