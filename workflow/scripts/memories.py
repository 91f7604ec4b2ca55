"""Measure which classes the memories of attention and MLP sublayers write, and whether tokens use memories of their own class."""

from argparse import Namespace

import polars as pl

import cli
from classlens.analyses import agreement, projection_table
from classlens.config.settings import ProtocolSetting
from classlens.data.manifest_classes import classes_of
from classlens.models import loading
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).one(weights="the model's model.safetensors", card="its model.json")
    parser.one(manifest="manifest of the split", predictions="the model's predictions")
    parser.many(memory_keys="memory keys of the shards, in order", projections="projections of the shards, in order")
    parser.one(class_value_agreement="table to write", key_value_agreement="table to write", by_class="table by class to write")
    return parser.one(composition="table to write", chance="table to write", interpretable_values="table to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    model, card = loading.load_model(args.card.parent)
    predictions = pl.DataFrame(parquet.read_table(args.predictions))
    names = [name for _, name in classes_of(parquet.read_table(args.manifest))]
    layers = agreement.layer_memories(model)
    shards = [
        (keys, projection_table.read([projections], card)) for keys, projections in zip(args.memory_keys, args.projections, strict=True)
    ]
    classes = dict(predictions.select("image_id", "class_index").iter_rows())
    use = agreement.MemoryUse(layers, card, classes, Protocol.named(settings.protocol))
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
        parquet.write_table(path, table.to_arrow(), cli.provenance(settings, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
