"""Measure per image and block how attention and MLP change the class logit, and which of them sets the residual stream's top class."""

from argparse import Namespace

import cli
from classlens.analyses import building, projection_table
from classlens.analyses.groups import TokenLabels
from classlens.config.settings import ProtocolSetting
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).many(projections="projections of the shards, in order")
    parser.one(card="model.json of the model").maybe(tokens="token labels, if the images have masks")
    return parser.one(changes="change rates per image to write", composition="residual composition per image to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    card = Card.read(args.card)
    labels = TokenLabels(parquet.read_table(args.tokens), card) if args.tokens else None
    batches = projection_table.read(args.projections, card)
    changes, composition = building.per_image(batches, labels, card, Protocol.named(settings.protocol))
    metadata = cli.provenance(settings, card.sha256)
    parquet.write_table(args.changes, changes.to_arrow(), metadata)
    parquet.write_table(args.composition, composition.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
