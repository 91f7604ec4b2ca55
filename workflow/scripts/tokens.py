"""Label each image token as class, context or ignored, from the masks."""

from argparse import Namespace

import cli
from classlens.analyses import tokens
from classlens.config.settings import ProtocolSetting
from classlens.models.card import Card
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProtocolSetting).one(manifest="manifest of the split", root="folder of the data set")
    return parser.one(card="model.json of the model", tokens="table to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    card = Card.read(args.card)
    table = tokens.table(parquet.read_table(args.manifest), args.root, card, Protocol.named(settings.protocol))
    parquet.write_table(args.tokens, table, cli.provenance(settings, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
