"""Label each image token as class, context or ignored, from the masks."""

import argparse
from pathlib import Path

from classlens import cli, storage, tokens
from classlens.card import Card
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model whose tokens are labelled")
    parser.add_argument("--tokens", type=Path, required=True, help="table to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card = Card.read(args.card)
    table = tokens.table(storage.read_table(args.manifest), args.root, card, Protocol.named(args.protocol))
    storage.write_table(args.tokens, table, cli.provenance(args, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
