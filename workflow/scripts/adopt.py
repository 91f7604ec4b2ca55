"""Check an archive of published results, and unpack it into the results folder, ready for figures and tables."""

from argparse import Namespace
from pathlib import Path

import cli
from classlens.archive import adoption
from classlens.config import published
from classlens.errors import InputError
from classlens.storage.provenance import sha256


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(archive="archive that `make publish` wrote")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    if not args.archive.is_file():
        raise InputError(f"there is no archive {args.archive}: name it with make adopt FILE=...")
    folder = adoption.adopt(args.archive, args.results)
    print(f"{folder} holds the published results; the archive's sha256 is {sha256(args.archive)}. Draw everything, or one figure:")
    print(f"  snakemake --cores all --configfile {folder}/{published.CONFIG}")
    print(f"  snakemake --cores all {folder}/figures/mean_evolution.svg --configfile {folder}/{published.CONFIG}")


if __name__ == "__main__":
    cli.run(main, arguments())
