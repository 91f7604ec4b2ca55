"""Give the files of a copied run the dates that they had, so that nothing in the copy looks newer than what was made from it."""

import argparse
from pathlib import Path

from classlens import cli, run_record


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__, protocol=False)
    parser.add_argument("--results", type=Path, required=True, help="folder of the run's results, such as results/demo")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    print(f"{args.results}: {run_record.put_back_dates(args.results)} files have the dates that the run gave them")


if __name__ == "__main__":
    cli.run(main, arguments())
