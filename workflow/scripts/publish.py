"""Pack the tables and projections of a complete run, with a sha256 manifest, for others to adopt."""

import argparse
from pathlib import Path

from classlens import cli, publication
from classlens.config import read
from classlens.plan import Plan


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--configfile", type=Path, required=True, help="config of the run")
    parser.add_argument("--schema", type=Path, required=True, help="config/schema.yaml")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    config = read(args.configfile, args.schema)
    folder = args.results / config["run"]
    archive = args.results / f"{config['run']}.tar"
    digest = publication.publish(folder, Plan(config, str(folder)), archive)
    print(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB), sha256 {digest}")
    print(f"Others draw figures and tables from it after: make adopt FILE={archive.name}")


if __name__ == "__main__":
    cli.run(main, arguments())
