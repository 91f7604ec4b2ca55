"""Look for signs that a run measured something else than was meant, such as classes in another order."""

import argparse
import json
from pathlib import Path

from classlens import cli, sanity, storage
from classlens.card import Card
from classlens.sanity import Answers


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--models", type=cli.json_argument, required=True, help="name, label and dataset of each model, as a JSON list")
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="model.json of each model")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="predictions of each model")
    parser.add_argument("--datasets", nargs="*", default=[], help="names of the data sets")
    parser.add_argument("--manifests", type=Path, nargs="*", default=[], help="manifest of the analysed split of each data set")
    parser.add_argument("--fitted", type=Path, nargs="*", default=[], help="manifests of the splits that something is fitted on")
    parser.add_argument("--warnings", type=Path, required=True, help="warnings to write, as JSON")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    manifests = {name: storage.read_table(path) for name, path in zip(args.datasets, args.manifests, strict=True)}
    found: list[dict[str, str | None]] = []
    for name, manifest in manifests.items():
        messages = list(sanity.of_images(manifest))
        for path in (path for path in args.fitted if path.parent.parent.name == name):
            messages += sanity.of_both(manifest, storage.read_table(path), path.parent.name)
        found += [{"about": name, "model": None, "dataset": name, "message": message} for message in messages]
    for model, card_path, path in zip(args.models, args.cards, args.predictions, strict=True):
        card = Card.read(card_path)
        table = storage.read_table(path, ["class_index", "predicted"], card.sha256)
        answers = Answers(table["class_index"].to_numpy(), table["predicted"].to_numpy(), card.classes)
        odd = sanity.of_model(answers, manifests[model["dataset"]])
        found += [{"about": model["label"], "model": model["name"], "dataset": None, "message": message} for message in odd]
    for warning in found:
        cli.log.warning("%s: %s", warning["about"], warning["message"])
    with storage.whole(args.warnings) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main, arguments())
