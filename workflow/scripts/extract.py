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
    outputs = "hidden states and predictions to write, and, where they are wanted, memory keys"
    parser.add_argument("--outputs", type=Path, nargs="+", metavar="PARQUET", required=True, help=outputs)
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
        args.outputs[0],
        args.outputs[1],
        args.outputs[2] if len(args.outputs) > 2 else None,
        Protocol.named(args.protocol),
        cli.provenance(args, card.sha256),
    )


if __name__ == "__main__":
    cli.run(main, arguments())
