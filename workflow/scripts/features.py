"""Extract the features of a split's images, which a model's head reads, for fitting a head."""

from argparse import Namespace

import cli
import model_cli
from classlens.config.settings import HubSettings
from classlens.config.steps import FeaturesStep
from classlens.models import features, new_model
from classlens.models.hub import Hub
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, FeaturesStep, hub=HubSettings).maybe(checkpoint="file of the weights")
    return parser.one(manifest="manifest of the split", root="folder of the data set", features="table to write")


def main(args: Namespace, settings: FeaturesStep) -> None:
    compute = model_cli.compute(args, settings.precision)
    wanted = new_model.ModelDescription.of({**settings.model_dump(), "num_classes": 1}, {"checkpoint": args.checkpoint})
    made = new_model.backbone(wanted, Hub(args.hub.cache, args.hub.offline), settings.seed)
    manifest, provenance = parquet.read_table(args.manifest), cli.provenance(settings)
    features.extract(made.model, manifest, args.root, made.transform, compute=compute, path=args.features, provenance=provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
