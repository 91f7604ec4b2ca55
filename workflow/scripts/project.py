"""Project one shard of hidden states onto the class embedding."""

import argparse
from pathlib import Path

import pyarrow.compute as pc

from classlens import cli, compute, models, projection, storage
from classlens.lens import Lens


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--shard", required=True, help="name of the shard")
    parser.add_argument("--states", type=Path, required=True, help="hidden states to read")
    parser.add_argument("--top-k", type=int, default=5, help="classes with the largest logits to keep")
    parser.add_argument("--projections", type=Path, required=True, help="projections to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    model, card = models.load_model(args.model)
    manifest = storage.read_table(args.manifest, ["image_id", "class_index", "shard"]).filter(pc.field("shard") == args.shard)
    projection.project(
        Lens.from_model(model),
        card,
        args.states,
        manifest,
        args.top_k,
        compute.from_arguments(args),
        args.projections,
        cli.provenance(args, card.sha256),
    )


if __name__ == "__main__":
    cli.run(main, arguments())
