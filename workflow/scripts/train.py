"""Train a small Vision Transformer on a data set's train split, check it, and keep it as safetensors with its description."""

import argparse
from pathlib import Path

from classlens import cli, compute, models, out_of_memory, storage, training
from classlens.hub import Hub
from classlens.protocol import Protocol
from classlens.transforms import Transform


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the train split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--arch", required=True, help="name of the model in timm")
    parser.add_argument("--kwargs", type=cli.json_argument, default={}, help="arguments of timm.create_model, as JSON")
    parser.add_argument("--transform", type=cli.json_argument, help="image transform, as JSON; null for the default")
    parser.add_argument("--num-classes", type=int, required=True, help="number of classes of the data set")
    parser.add_argument(
        "--recipe", type=cli.json_argument, required=True, help="epochs, batch_size, learning_rate and weight_decay, as JSON"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and augmentation")
    parser.add_argument("--model", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--card", type=Path, required=True, help="description to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    run = compute.from_arguments(args)
    model = models.make_model(Hub().architecture(args.arch), "random", args.kwargs, args.num_classes, args.seed)
    transform = Transform(models.transform_of(model, args.arch, args.transform, Protocol.named(args.protocol)))
    pixels, classes = training.load_images(storage.read_table(args.manifest), args.root, transform, run.workers)
    with out_of_memory.refused("lower the model's `training.batch_size`, or set `compute.device` to cpu"):
        training.train(model, pixels, classes, transform, training.Recipe(**args.recipe), run, args.seed)
    models.accept(model, args.arch)
    models.save(model, args.model)
    card = models.describe(model, args.arch, args.kwargs, "trained", args.transform, Protocol.named(args.protocol), args.model)
    card.write(args.card)


if __name__ == "__main__":
    cli.run(main, arguments())
