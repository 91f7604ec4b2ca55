"""Measure what each attention head and each MLP writes directly into the logit of the true class."""

from argparse import Namespace

import pyarrow as pa

import cli
import model_cli
from classlens.analyses import attribution_table
from classlens.analyses.attribution import attribution
from classlens.config.steps import AttributionStep
from classlens.data.batches import Batch
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return model_cli.ModelParser(__doc__, AttributionStep).of_images().one(terms="terms to write")


def main(args: Namespace, settings: AttributionStep) -> None:
    run = model_cli.model_run(args)
    card = run.card

    def work(batch: Batch) -> pa.RecordBatch:
        logits = attribution_table.own_logits(attribution(run.model, run.lens, batch.images), batch.classes)
        return attribution_table.rows(batch.image_ids, batch.classes.cpu().numpy(), logits, card)

    read = card.image_tokens if card.pooling == "mean" else card.prefix_tokens
    bytes_per_image = 4 * card.depth * card.width * (2 * read + 2 * card.heads)
    with parquet.table_writer(args.terms, attribution_table.SCHEMA, run.metadata) as write:
        run.each("attribution", bytes_per_image, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
