"""Open the explorer of a run in the browser."""

import webbrowser
from argparse import Namespace
from pathlib import Path

import cli
from classlens.errors import InputError


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder of the run, such as results/demo")
    return parser


def main(args: Namespace, _: cli.NoSettings) -> None:
    page = args.results / "explorer" / "index.html"
    if not page.is_file():
        raise InputError(f"{page} does not exist: `classlens run CONFIG explorer` makes it")
    print(page)
    if not webbrowser.open(page.resolve().as_uri()):
        print("There is no browser here: open this file in one.")


if __name__ == "__main__":
    cli.run(main, arguments())
