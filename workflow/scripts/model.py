"""Download, load or initialise a model, check that the method applies to it, and store it as safetensors with its card."""

from argparse import Namespace

import cli
from classlens.config.settings import HubSettings
from classlens.config.steps import ModelStep
from classlens.models import new_model
from classlens.models.hub import Hub


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ModelStep, hub=HubSettings)
    parser.maybe(checkpoint="file of the weights", class_embedding="class embedding that replaces the model's head")
    parser.maybe(class_list="classes of the data set, in the order of their indices")
    return parser.one(weights_file="safetensors file to write", card="model.json to write")


def main(args: Namespace, settings: ModelStep) -> None:
    files = {name: getattr(args, name) for name in ("checkpoint", "class_embedding", "class_list")}
    hub = Hub(args.hub.cache, args.hub.offline)
    new_model.make(new_model.ModelDescription.of(settings.model_dump(), files), hub, settings.seed, args.weights_file, args.card)


if __name__ == "__main__":
    cli.run(main, arguments())
