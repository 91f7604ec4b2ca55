"""Make the random twins of a model, one per seed, and measure them all in one pass over the images, without keeping hidden states."""

import argparse
from pathlib import Path

import polars as pl
import pyarrow as pa

from classlens import agreement, cli, compute, extraction, identifiability, models, new_model, projection_table, storage, twins
from classlens.agreement import MemoryUse
from classlens.card import Card
from classlens.compute import Compute
from classlens.manifest_classes import class_index, classes_of
from classlens.protocol import Protocol
from classlens.twins import Settings, Twin

MEMORIES = ("class-value-agreement", "key-value-agreement", "composition", "chance")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    new_model.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the analysed split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="seed of each twin")
    parser.add_argument("--dtype", choices=list(extraction.DTYPES), default="float16", help="type in which hidden states are projected")
    parser.add_argument("--top-k", type=int, default=5, help="classes with the largest logits to keep")
    parser.add_argument("--classes", type=cli.json_argument, default=[], help="further classes whose logits to keep, as a JSON list")
    parser.add_argument("--weights-to", type=Path, nargs="+", required=True, help="safetensors file to write of each twin")
    parser.add_argument("--cards", type=Path, nargs="+", required=True, help="model.json to write of each twin, beside it")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predictions to write of each twin")
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="projections to write: shards of the first twin first")
    parser.add_argument("--class-logits", type=Path, nargs="+", required=True, help="shards to write of the first twin")
    parser.add_argument("--identifiability", type=Path, nargs="+", required=True, help="measures per image to write of each twin")
    parser.add_argument("--ranks", type=Path, nargs="+", required=True, help="counts of ranks to write of each twin")
    for name in MEMORIES:
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help="table to write of each twin, if memories are asked for")
    return parser.parse_args()


def made(args: argparse.Namespace, number: int, manifest: pa.Table, run: Compute) -> Twin:
    """Make the twin of a seed, and measure what its weights alone say."""
    weights, card_path = args.weights_to[number], args.cards[number]
    new_model.make(args, args.seeds[number], weights, card_path)
    model, card = models.load_model(weights.parent)
    provenance, use = cli.provenance(args, card.sha256), None
    if args.class_value_agreement:
        storage.write_table(args.class_value_agreement[number], agreement.class_value_table(model).to_arrow(), provenance)
        classes = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
        use = MemoryUse(agreement.of_model(model), card, classes, Protocol.named(args.protocol))
    shards = len(args.class_logits)
    projections = args.projections[number * shards : (number + 1) * shards]
    class_logits = [] if number else args.class_logits
    return Twin(run.place(model), card, args.predictions[number], projections, class_logits, use, provenance)


def sum_up(args: argparse.Namespace, number: int, twin: Twin) -> None:
    """Write a twin's measures per image."""
    card: Card = twin.card
    metadata = {**twin.provenance, **card.metadata}
    measures, ranks = identifiability.per_image(projection_table.read(twin.projections, card), card, Protocol.named(args.protocol))
    storage.write_table(args.identifiability[number], measures.to_arrow(), metadata)
    storage.write_table(args.ranks[number], ranks.to_arrow(), metadata)
    if twin.use:
        agreements, composition = twin.use.tables(pl.DataFrame(storage.read_table(twin.predictions)))
        storage.write_table(args.key_value_agreement[number], agreements.to_arrow(), twin.provenance)
        storage.write_table(args.composition[number], composition.to_arrow(), twin.provenance)
        storage.write_table(args.chance[number], twin.use.chance().to_arrow(), twin.provenance)


def main(args: argparse.Namespace) -> None:
    run, manifest = compute.from_arguments(args), storage.read_table(args.manifest)
    further = [class_index(item, classes_of(manifest), "projection.classes") for item in args.classes]
    found = [made(args, number, manifest, run) for number in range(len(args.seeds))]
    twins.measure(found, manifest, args.root, Settings(args.dtype, args.top_k, further, Protocol.named(args.protocol)), run)
    for number, twin in enumerate(found):
        sum_up(args, number, twin)


if __name__ == "__main__":
    cli.run(main, arguments())
