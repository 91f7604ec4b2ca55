"""Measure how identifiable the class is at class and at context tokens, per image and block."""

import argparse
from pathlib import Path

from classlens import cli, context, projection_table, storage
from classlens.card import Card
from classlens.groups import TokenLabels


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="projections of the shards, in order")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--tokens", type=Path, required=True, help="token labels")
    parser.add_argument("--context", type=Path, required=True, help="measures per image to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card = Card.read(args.card)
    labels = TokenLabels(storage.read_table(args.tokens), card)
    measures = context.per_image(projection_table.read(args.projections, card), labels, card)
    metadata = {**cli.provenance(args, card.sha256), **card.metadata}
    storage.write_table(args.context, measures.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
