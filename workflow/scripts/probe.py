"""Fit a linear probe for every site, block and token position, and rank the class with it."""

from argparse import Namespace

import polars as pl

import cli
from classlens import vocabulary
from classlens.analyses import probes
from classlens.config.steps import ProbeStep
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ProbeStep).one(card="model.json of the model", manifest="manifest of the tested split")
    parser.many(states="its hidden states, shards in order").maybe(train_manifest="manifest of the probe split")
    parser.many(train_states="its hidden states; without them, probes are fitted on halves of the tested images")
    return parser.one(ranks="ranks to write", accuracy="accuracies to write")


def main(args: Namespace, settings: ProbeStep) -> None:
    card = Card.read(args.card)
    test = probes.Split.read(args.manifest, args.states, card.sha256)
    train = probes.Split.read(args.train_manifest, args.train_states, card.sha256) if args.train_states else None
    ranks_of = probes.probe_ranks(train, test, card.classes, settings.seed, Protocol.named(settings.protocol))
    provenance, accuracies = {**cli.provenance(settings, card.sha256), **card.metadata}, []
    with parquet.table_writer(args.ranks, probes.RANKS, provenance) as write:
        for site, block in progress(probes.columns(card), len(vocabulary.STORED_SITES) * card.depth, "linear probes", "sites and blocks"):
            found = ranks_of(f"{site}.{block}")
            write(probes.rank_rows(site, block, test.image_ids, found))
            accuracies.append(
                pl.DataFrame({"site": site, "block": block, "token": range(card.tokens), "accuracy": (found == 0).mean(axis=1)})
            )
    counts = {"images": len(test.image_ids), "training_images": len(train.image_ids) if train else len(test.image_ids) // 2}
    columns = {**counts, "training": settings.training, "alpha": probes.ALPHA, "seed": settings.seed, "protocol": settings.protocol}
    table = pl.concat(accuracies).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    parquet.write_table(args.accuracy, table.cast({"block": pl.Int16, "token": pl.Int16}).to_arrow(), provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
