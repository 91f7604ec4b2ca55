"""Restore the dates of the files in a copied run, so that no input looks newer than its results."""

from argparse import Namespace

import cli
from classlens.config import run_record


def arguments() -> cli.Parser:
    return cli.Parser(__doc__).one(results="folder of the run's results, such as results/demo")


def main(args: Namespace, _: cli.NoSettings) -> None:
    print(f"{args.results}: {run_record.put_back_dates(args.results)} files have their original dates again")


if __name__ == "__main__":
    cli.run(main, arguments())
