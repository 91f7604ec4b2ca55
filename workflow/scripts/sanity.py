"""Check a run's results for signs of mistakes, such as a wrong order of classes."""

import json
from argparse import Namespace

import cli
from classlens.config.steps import SanityStep
from classlens.models.card import Card
from classlens.progress import log
from classlens.report import sanity
from classlens.report.sanity import Answers
from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, SanityStep).many(cards="model.json of each model", predictions="predictions of each model")
    parser.many(manifests="manifest of the analysed split of each data set", fitted="manifests of the fitted splits")
    return parser.one(warnings="warnings to write, as JSON")


def main(args: Namespace, settings: SanityStep) -> None:
    manifests = {name: parquet.read_table(path) for name, path in zip(settings.datasets, args.manifests, strict=True)}
    found: list[dict[str, str | None]] = []
    for name, manifest in manifests.items():
        messages = list(sanity.of_images(manifest))
        for path in (path for path in args.fitted if path.parent.parent.name == name):
            messages += sanity.of_both(manifest, parquet.read_table(path), path.parent.name)
        found += [{"about": name, "model": None, "dataset": name, "message": message} for message in messages]
    for model, card_path, path in zip(settings.models, args.cards, args.predictions, strict=True):
        card = Card.read(card_path)
        table = parquet.read_table(path, ["class_index", "predicted"], card.sha256)
        answers = Answers(table["class_index"].to_numpy(), table["predicted"].to_numpy(), card.classes)
        odd = sanity.of_model(answers, manifests[model["dataset"]])
        found += [{"about": model["label"], "model": model["name"], "dataset": None, "message": message} for message in odd]
    for warning in found:
        log.warning("%s: %s", warning["about"], warning["message"])
    with atomic_write(args.warnings) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
