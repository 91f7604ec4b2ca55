"""Write the tables of a page on reproduction: expected and measured numbers of the paper and of the demo."""

from argparse import Namespace

import polars as pl

import cli
from classlens.config import expected
from classlens.errors import InputError
from classlens.report import reproduction
from classlens.storage.atomic_write import atomic_write

RUNS = ("paper", "demo")
BEGIN, END = "<!-- reproduction: written by `make reproduction` -->\n", "<!-- end of reproduction -->\n"


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__).one(expected="config/expected.yaml", page="page whose section to write")
    return parser.one(results="folder of all runs' results; a missing run is shown as not run")


def result(args: Namespace, run: str) -> pl.DataFrame:
    """Return the comparison of a run with its expected numbers, with empty values if the run does not exist."""
    path = args.results / run / "reproduction.csv"
    if path.is_file():
        return pl.read_csv(path, schema=reproduction.SCHEMA)
    return reproduction.compare(expected.of_run(args.expected, run), {})


def main(args: Namespace, _: cli.NoSettings) -> None:
    before, begin, rest = args.page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{args.page} has no section between {BEGIN.strip()} and {END.strip()}")
    section = reproduction.section({run: result(args, run) for run in RUNS})
    with atomic_write(args.page) as draft:
        draft.write_text(f"{before}{begin}\n{section}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
