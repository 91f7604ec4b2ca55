"""Draw the demo's data set of shapes, in the layout of ImageNet-S."""

import argparse
from pathlib import Path

from classlens import cli, shapes


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--num-classes", type=int, default=10, help="number of classes, at most 20")
    parser.add_argument("--splits", type=cli.json_argument, required=True, help="images of each class by split, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="seed of all images")
    parser.add_argument("--root", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    shapes.write(args.root, args.num_classes, args.splits, args.seed, args.threads)


if __name__ == "__main__":
    cli.run(main, arguments())
