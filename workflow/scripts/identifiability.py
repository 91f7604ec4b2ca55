"""Measure class identifiability per image, block and token kind."""

from argparse import Namespace

import cli
from classlens.analyses import identifiability, projection_table
from classlens.config.settings import ProtocolSetting
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).many(projections="projections of the shards, in order")
    return parser.one(card="model.json of the model", measures="measures per image to write", ranks="counts of ranks to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    card = Card.read(args.card)
    batches = projection_table.read(args.projections, card)
    measures, ranks = identifiability.per_image(batches, card, Protocol.named(settings.protocol))
    metadata = {**cli.provenance(settings, card.sha256), **card.metadata}
    parquet.write_table(args.measures, measures.to_arrow(), metadata)
    parquet.write_table(args.ranks, ranks.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
