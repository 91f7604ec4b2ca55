"""Measure what the memories of attention and MLP layers have to do with classes."""

import argparse
from pathlib import Path

import polars as pl

from classlens import agreement, cli, models, projection_table, storage
from classlens.manifest_classes import classes_of
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--predictions", type=Path, required=True, help="the model's predictions")
    parser.add_argument("--memory-keys", type=Path, nargs="+", required=True, help="memory keys of the shards, in order")
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="projections of the shards, in order")
    parser.add_argument("--class-value-agreement", type=Path, required=True, help="table to write")
    parser.add_argument("--key-value-agreement", type=Path, required=True, help="table to write")
    parser.add_argument("--by-class", type=Path, required=True, help="the same by class, table to write")
    parser.add_argument("--composition", type=Path, required=True, help="table to write")
    parser.add_argument("--chance", type=Path, required=True, help="table to write")
    parser.add_argument("--interpretable-values", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    model, card = models.load_model(args.model)
    predictions = pl.DataFrame(storage.read_table(args.predictions))
    names = [name for _, name in classes_of(storage.read_table(args.manifest))]
    layers = agreement.of_model(model)
    shards = [
        (keys, projection_table.read([projections], card)) for keys, projections in zip(args.memory_keys, args.projections, strict=True)
    ]
    use = agreement.MemoryUse(layers, card, dict(predictions.select("image_id", "class_index").iter_rows()), Protocol.named(args.protocol))
    agreement.of_shards(shards, use, card)
    agreements, composition = use.tables(predictions)
    tables = {
        args.class_value_agreement: agreement.class_value_table(model),
        args.key_value_agreement: agreements,
        args.by_class: agreement.by_class(agreements, names),
        args.composition: composition,
        args.chance: use.chance(),
        args.interpretable_values: agreement.interpretable_values(model, layers, names, use.counts),
    }
    for path, table in tables.items():
        storage.write_table(path, table.to_arrow(), cli.provenance(args, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
