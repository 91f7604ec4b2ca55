"""Make a class embedding with the text tower that was trained together with a CLIP image tower."""

from argparse import Namespace

import cli
from classlens.config.settings import HubSettings
from classlens.config.steps import TextStep
from classlens.data.manifest_classes import classes_of
from classlens.models import text_embedding
from classlens.models.hub import Hub
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, TextStep, hub=HubSettings).maybe(weights="weights of the text tower (default: from the hub)")
    return parser.one(class_list="classes of the data set", class_embedding="class embedding to write")


def main(args: Namespace, settings: TextStep) -> None:
    hub, classes = Hub(args.hub.cache, args.hub.offline), classes_of(parquet.read_table(args.class_list))
    tower = text_embedding.tower_of(hub.architecture(settings.arch))
    text_embedding.make(tower, hub, args.weights, settings.prompts, classes).write(args.class_embedding, classes)


if __name__ == "__main__":
    cli.run(main, arguments())
