"""Measure what attention and MLP layers add to the class, and whose top class the residual stream takes on, per image and block."""

import argparse
from pathlib import Path

from classlens import building, cli, projection_table, storage
from classlens.card import Card
from classlens.groups import TokenLabels
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="projections of the shards, in order")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--tokens", type=Path, nargs="*", default=[], help="token labels; none where there are no masks")
    parser.add_argument("--changes", type=Path, required=True, help="change rates per image to write")
    parser.add_argument("--composition", type=Path, required=True, help="residual composition per image to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card = Card.read(args.card)
    labels = TokenLabels(storage.read_table(args.tokens[0]), card) if args.tokens else None
    batches = projection_table.read(args.projections, card)
    changes, composition = building.per_image(batches, labels, card, Protocol.named(args.protocol))
    metadata = cli.provenance(args, card.sha256)
    storage.write_table(args.changes, changes.to_arrow(), metadata)
    storage.write_table(args.composition, composition.to_arrow(), metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
