"""Write the page of the explorer, which loads the files that `explorer_model` has written beside it."""

from argparse import Namespace

import cli
from classlens.config.steps import ExplorerStep
from classlens.explorer import page
from classlens.report import run_facts
from classlens.storage.atomic_write import atomic_write


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ExplorerStep)
    parser.many(explored="folders of the models, beside the page").one(warnings="signs that something else was measured than was meant")
    return parser.one(page="page to write")


def main(args: Namespace, settings: ExplorerStep) -> None:
    warnings = run_facts.warnings(args.warnings)
    facts = {"run": settings.run, "protocol": settings.protocol, "models": settings.models, "warnings": warnings}
    with atomic_write(args.page) as draft:
        draft.write_text(page.complete(facts), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
