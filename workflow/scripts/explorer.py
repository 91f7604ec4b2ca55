"""Write the page of the explorer, which loads the files that `explorer_model` has written beside it."""

import argparse
from pathlib import Path

from classlens import cli, run_facts, storage
from classlens.explorer import page


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument(
        "--models", type=cli.json_argument, required=True, help="name, label, dataset and twin_of of each model, as a JSON list"
    )
    parser.add_argument("--warnings", type=Path, required=True, help="signs that something else was measured than was meant")
    parser.add_argument("--page", type=Path, required=True, help="page to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    warnings = run_facts.warnings(args.warnings)
    facts = {"run": args.run, "protocol": args.protocol, "models": args.models, "warnings": warnings}
    with storage.whole(args.page) as draft:
        draft.write_text(page.complete(facts), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
