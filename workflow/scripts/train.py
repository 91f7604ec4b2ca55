"""Train a small Vision Transformer on a data set's train split, check it, and store it as safetensors with its card."""

from argparse import Namespace

import cli
import model_cli
from classlens.compute import out_of_memory
from classlens.config.steps import TrainingStep
from classlens.data.transforms import Transform
from classlens.models import loading, training
from classlens.models.hub import Hub
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, TrainingStep).one(manifest="manifest of the train split", root="folder of the data set")
    return parser.one(weights="safetensors file to write", card="model.json to write")


def main(args: Namespace, settings: TrainingStep) -> None:
    run, protocol = model_cli.compute(args, settings.precision), Protocol.named(settings.protocol)
    transform = settings.transform.model_dump() if settings.transform else None
    model = loading.make_model(Hub().architecture(settings.arch), "random", settings.kwargs, settings.num_classes, settings.seed)
    prepare = Transform(loading.transform_of(model, settings.arch, transform, protocol))
    pixels, classes = training.load_images(parquet.read_table(args.manifest), args.root, prepare, run.workers)
    with out_of_memory.refused("lower the model's `training.batch_size`, or set `compute.device` to cpu"):
        recipe = training.Recipe(**dict(settings.training))
        training.train(model, pixels, classes, prepare, recipe, compute=run, seed=settings.seed)
    loading.accept(model, settings.arch)
    loading.save(model, args.weights)
    card = loading.describe(model, settings.arch, settings.kwargs, "trained", transform=transform, protocol=protocol, weights=args.weights)
    card.write(args.card)


if __name__ == "__main__":
    cli.run(main, arguments())
