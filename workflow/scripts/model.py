"""Fetch, load or initialise a model, check that it is what the method assumes, and keep it as safetensors with its description."""

import argparse
from pathlib import Path

from classlens import cli, models
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--arch", required=True, help="name of the model in timm")
    parser.add_argument("--weights", choices=["pretrained", "random", "checkpoint"], required=True, help="where the weights come from")
    parser.add_argument("--checkpoint", type=cli.optional_path, help="file of the weights, for --weights checkpoint")
    parser.add_argument("--kwargs", type=cli.json_argument, default={}, help="arguments of timm.create_model, as JSON")
    parser.add_argument("--key-prefix", default="", help="prefix to take off the checkpoint's parameter names")
    parser.add_argument(
        "--ignore-keys", type=cli.json_argument, default=[], help="patterns of parameters that only the checkpoint has, as a JSON list"
    )
    parser.add_argument("--transform", type=cli.json_argument, help="image transform, as JSON; null for the default")
    parser.add_argument("--num-classes", type=int, required=True, help="number of classes of the data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights")
    parser.add_argument("--model", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--card", type=Path, required=True, help="description to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    model = models.make_model(
        args.arch, args.weights, args.kwargs, args.num_classes, args.seed, args.checkpoint, args.key_prefix, args.ignore_keys
    )
    models.save(model, args.model)
    source = args.checkpoint.name if args.checkpoint else args.weights
    card = models.describe(model, args.arch, args.kwargs, source, args.transform, Protocol.named(args.protocol), args.model)
    models.save_card(card, args.card)


if __name__ == "__main__":
    cli.run(main, arguments())
