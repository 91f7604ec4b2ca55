"""Copy the configs and the profiles of the workflow into a folder, to edit them. Existing files are an error."""

import shutil
from argparse import Namespace
from pathlib import Path

import cli
from classlens.errors import InputError

COPIED = ("config", "profiles")
NEXT = """\
{folder}/config has the configs of the demo and of the paper, {folder}/profiles the settings of Snakemake. Then:
  classlens check --fix my.yaml MODEL IMAGES   write a config for your checkpoint and images
  classlens run {folder}/config/config.yaml    run the demo"""


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="where to copy them (default: here)")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    for name in COPIED:
        if (args.folder / name).exists():
            raise InputError(f"{args.folder / name} exists: choose another folder")
    for name in COPIED:
        shutil.copytree(cli.HOME / name, args.folder / name)
    print(NEXT.format(folder=args.folder))


if __name__ == "__main__":
    cli.run(main, arguments())
