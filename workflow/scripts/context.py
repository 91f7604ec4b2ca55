"""Measure class identifiability at class tokens and context tokens, per image and block."""

from argparse import Namespace

import cli
from classlens.analyses import context, projection_table
from classlens.analyses.groups import TokenLabels
from classlens.config.settings import ProtocolSetting
from classlens.models.card import Card
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).many(projections="projections of the shards, in order")
    return parser.one(card="model.json of the model", tokens="token labels", context="measures per image to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    card = Card.read(args.card)
    labels = TokenLabels(parquet.read_table(args.tokens), card)
    measures = context.per_image(projection_table.read(args.projections, card), labels, card)
    metadata = {**cli.provenance(settings, card.sha256), **card.metadata}
    parquet.write_table(args.context, measures.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
