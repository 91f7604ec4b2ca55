"""Project one shard of hidden states onto the class embedding."""

import argparse
from pathlib import Path

import pyarrow.compute as pc

from classlens import cli, compute, models, projection, storage
from classlens.lens import Lens
from classlens.manifest_classes import class_index, classes_of
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--shard", required=True, help="name of the shard")
    parser.add_argument("--states", type=Path, required=True, help="hidden states to read")
    parser.add_argument("--top-k", type=int, default=5, help="classes with the largest logits to keep")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="predictions of the shard, for the classes that the model finds most likely"
    )
    parser.add_argument("--classes", type=cli.json_argument, default=[], help="further classes whose logits to keep, as a JSON list")
    parser.add_argument("--projections", type=Path, required=True, help="projections to write")
    parser.add_argument("--class-logits", type=Path, required=True, help="logits of the classes of interest to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    model, card = models.load_model(args.model)
    manifest = storage.read_table(args.manifest, ["image_id", "class_index", "shard"])
    further = [class_index(item, classes_of(manifest), "projection.classes") for item in args.classes]
    predictions = storage.read_table(args.predictions, ["image_id", "top"], card.sha256)
    projection.project(
        Lens.from_model(model),
        card,
        args.states,
        projection.classes_of_interest(manifest.filter(pc.field("shard") == args.shard), predictions, further),
        args.top_k,
        compute.from_arguments(args),
        Protocol.named(args.protocol),
        args.projections,
        args.class_logits,
        cli.provenance(args, card.sha256),
    )


if __name__ == "__main__":
    cli.run(main, arguments())
