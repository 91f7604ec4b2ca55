"""Check the archive of someone else's run, and put its results where figures and tables can be made from them."""

import argparse
from pathlib import Path

from classlens import adoption, cli, published
from classlens.errors import InputError
from classlens.provenance import sha256

SCHEMA = Path(__file__).resolve().parents[2] / "config" / "schema.yaml"


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--archive", type=Path, required=True, help="archive that `make publish` wrote")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    parser.add_argument("--schema", type=Path, default=SCHEMA, help="config/schema.yaml")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    if not args.archive.is_file():
        raise InputError(f"there is no archive {args.archive}: say which one with make adopt FILE=...")
    folder = adoption.adopt(args.archive, args.results, args.schema)
    print(f"{folder} holds the published results; the archive's sha256 is {sha256(args.archive)}. All figures and tables, or one of them:")
    print(f"  snakemake --cores all --configfile {folder}/{published.CONFIG}")
    print(f"  snakemake --cores all {folder}/figures/mean_evolution.svg --configfile {folder}/{published.CONFIG}")


if __name__ == "__main__":
    cli.run(main, arguments())
