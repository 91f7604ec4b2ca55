"""Write the README's section on reproduction: what was measured of the paper's numbers and of the demo's."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, expected, reproduction, storage
from classlens.errors import InputError

RUNS = ("paper", "demo")
BEGIN, END = "<!-- reproduction: written by `make reproduction` -->\n", "<!-- end of reproduction -->\n"


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--expected", type=Path, required=True, help="config/expected.yaml")
    parser.add_argument("--results", type=Path, required=True, help="folder of the runs; one that is not there is shown as not run")
    parser.add_argument("--readme", type=Path, required=True, help="page to change")
    return parser.parse_args()


def result(args: argparse.Namespace, run: str) -> pl.DataFrame:
    """What a run gave; nothing where it has not been run."""
    path = args.results / run / "reproduction.csv"
    if path.is_file():
        return pl.read_csv(path, schema=reproduction.SCHEMA)
    return reproduction.compare(expected.of_run(args.expected, run), {})


def main(args: argparse.Namespace) -> None:
    before, begin, rest = args.readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{args.readme} has no section between {BEGIN.strip()} and {END.strip()}")
    section = reproduction.section({run: result(args, run) for run in RUNS})
    with storage.whole(args.readme) as draft:
        draft.write_text(f"{before}{begin}\n{section}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
