"""Pack the tables and projections of a complete run into an archive that others can adopt, with the sha256 of every file.

Beside the archive lies its metadata for a deposit on Zenodo.
"""

import json
from argparse import Namespace
from pathlib import Path

import cli
from classlens.archive import deposit, publication
from classlens.config.plan import Plan
from classlens.config.reading import read
from classlens.storage.atomic_write import atomic_write


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(configfile="config of the run")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all runs' results")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    config = read(args.configfile)
    folder = args.results / config.run
    archive = args.results / f"{config.run}.tar"
    plan = Plan(config, str(folder))
    digest = publication.publish(folder, plan, archive)
    described = archive.with_suffix(".zenodo.json")
    with atomic_write(described) as draft:
        draft.write_text(
            json.dumps(deposit.metadata(plan, archive, digest, cli.HOME / "CITATION.cff"), indent=1, ensure_ascii=False), encoding="utf-8"
        )
    print(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB), sha256 {digest}")
    print(f"{described}: its metadata for Zenodo")
    print(f"Others unpack it with: make adopt FILE={archive.name}")


if __name__ == "__main__":
    cli.run(main, arguments())
