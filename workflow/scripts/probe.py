"""Fit a linear probe to every site, block and token position, and rank the class with it."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, probes, storage
from classlens.card import Card
from classlens.protocol import Protocol


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split that probes are tested on")
    parser.add_argument("--states", type=Path, nargs="+", required=True, help="its hidden states, shards in order")
    parser.add_argument("--train-manifest", type=Path, nargs="*", default=[], help="manifest of the split that they are fitted on")
    parser.add_argument(
        "--train-states", type=Path, nargs="*", default=[], help="its hidden states; none to fit on halves of the tested images"
    )
    parser.add_argument("--training", required=True, help="what they are fitted on, in words")
    parser.add_argument("--seed", type=int, default=0, help="seed of the halves")
    parser.add_argument("--ranks", type=Path, required=True, help="ranks to write")
    parser.add_argument("--accuracy", type=Path, required=True, help="accuracies to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    card = Card.read(args.card)
    test = probes.Split.read(args.manifest, args.states, card.sha256)
    train = probes.Split.read(args.train_manifest[0], args.train_states, card.sha256) if args.train_states else None
    ranks_of = probes.probe_ranks(train, test, card.classes, args.seed, Protocol.named(args.protocol))
    provenance, accuracies = {**cli.provenance(args, card.sha256), **card.metadata}, []
    with storage.table_writer(args.ranks, probes.RANKS, provenance) as write:
        for site, block in cli.progress(probes.columns(card), len(probes.SITES) * card.depth, "linear probes", "sites and blocks"):
            found = ranks_of(f"{site}.{block}")
            write(probes.rank_rows(site, block, test.image_ids, found))
            accuracies.append(
                pl.DataFrame({"site": site, "block": block, "token": range(card.tokens), "accuracy": (found == 0).mean(axis=1)})
            )
    counts = {"images": len(test.image_ids), "training_images": len(train.image_ids) if train else len(test.image_ids) // 2}
    columns = {**counts, "training": args.training, "alpha": probes.ALPHA, "seed": args.seed, "protocol": args.protocol}
    table = pl.concat(accuracies).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    storage.write_table(args.accuracy, table.cast({"block": pl.Int16, "token": pl.Int16}).to_arrow(), provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
