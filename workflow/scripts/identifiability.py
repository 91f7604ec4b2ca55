"""Measure how identifiable the class is at each token, per image and block."""

import argparse
from pathlib import Path

from classlens import cli, identifiability, projection_table, storage
from classlens.card import Card
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="projections of the shards, in order")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--identifiability", type=Path, required=True, help="measures per image to write")
    parser.add_argument("--ranks", type=Path, required=True, help="counts of ranks to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card = Card.read(args.card)
    batches = projection_table.read(args.projections, card)
    measures, ranks = identifiability.per_image(batches, card, Protocol.named(args.protocol))
    metadata = {**cli.provenance(args, card.sha256), **card.metadata}
    storage.write_table(args.identifiability, measures.to_arrow(), metadata)
    storage.write_table(args.ranks, ranks.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
