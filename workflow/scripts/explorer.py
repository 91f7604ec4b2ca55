"""Write the explorer's page, which loads the files of `explorer_model` from its own folder."""

from argparse import Namespace

import cli
from classlens.config.steps import ExplorerStep
from classlens.explorer import page
from classlens.report import run_facts
from classlens.storage.atomic_write import atomic_write


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ExplorerStep)
    parser.many(explored="folders of the models, in the folder of the page").one(warnings="warnings of the run, as JSON")
    return parser.one(page="page to write")


def main(args: Namespace, settings: ExplorerStep) -> None:
    warnings = run_facts.warnings(args.warnings)
    facts = {"run": settings.run, "protocol": settings.protocol, "models": settings.models, "warnings": warnings}
    with atomic_write(args.page) as draft:
        draft.write_text(page.page_html(facts), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
