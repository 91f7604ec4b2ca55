"""Pack the tables and projections of a complete run into an archive that others can adopt, with the sha256 of every file."""

from argparse import Namespace
from pathlib import Path

import cli
from classlens.archive import publication
from classlens.config.plan import Plan
from classlens.config.reading import read


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(configfile="config of the run")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    config = read(args.configfile)
    folder = args.results / config.run
    archive = args.results / f"{config.run}.tar"
    digest = publication.publish(folder, Plan(config, str(folder)), archive)
    print(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB), sha256 {digest}")
    print(f"Others unpack it with: make adopt FILE={archive.name}")


if __name__ == "__main__":
    cli.run(main, arguments())
