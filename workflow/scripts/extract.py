"""Extract hidden states, memory keys and predictions of one shard of images, in one forward pass per image."""

import argparse
from pathlib import Path

import pyarrow.compute as pc

from classlens import cli, compute, extraction, models, storage
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--shard", required=True, help="name of the shard")
    parser.add_argument("--dtype", choices=list(extraction.DTYPES), default="float16", help="type in which hidden states are stored")
    parser.add_argument("--states", type=Path, required=True, help="hidden states to write")
    parser.add_argument("--memory-keys", type=cli.optional_path, help="memory keys to write; none if left out")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    model, card = models.load_model(args.model)
    manifest = storage.read_table(args.manifest)
    extraction.extract(
        model,
        card,
        manifest.filter(pc.field("shard") == args.shard),
        args.root,
        compute.from_arguments(args),
        args.dtype,
        args.states,
        args.predictions,
        args.memory_keys,
        Protocol.named(args.protocol),
        cli.provenance(args, card.sha256),
    )


if __name__ == "__main__":
    cli.run(main, arguments())
