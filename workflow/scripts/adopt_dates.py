"""Give the files of a copied run the dates that they had, so that nothing in the copy looks newer than what was made from it."""

from argparse import Namespace

import cli
from classlens.config import run_record


def arguments() -> cli.Parser:
    return cli.Parser(__doc__).one(results="folder of the run's results, such as results/demo")


def main(args: Namespace, _: cli.NoSettings) -> None:
    print(f"{args.results}: {run_record.put_back_dates(args.results)} files have the dates that the run gave them")


if __name__ == "__main__":
    cli.run(main, arguments())
