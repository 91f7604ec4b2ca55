"""Fetch, load or initialise a model, check that it is what the method assumes, and keep it as safetensors with its description."""

import argparse
from pathlib import Path

from classlens import cli, new_model


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    new_model.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights")
    parser.add_argument("--model", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--card", type=Path, required=True, help="description to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    new_model.make(args, args.seed, args.model, args.card)


if __name__ == "__main__":
    cli.run(main, arguments())
