"""Measure what each attention head and each MLP writes directly into the logit of the true class."""

from argparse import Namespace

import cli
import model_cli
from classlens.analyses import attribution_table
from classlens.analyses.attribution import vector_width
from classlens.analyses.attribution_table import Measured
from classlens.config.steps import AttributionStep
from classlens.data.batches import Batch
from classlens.storage import parquet
from classlens.storage.tensors import write_tensors


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, AttributionStep).of_images()
    return parser.one(terms="terms to write", vectors="vectors of all components to write", means="means over images to write")


def main(args: Namespace, settings: AttributionStep) -> None:
    run = model_cli.model_run(args)
    card, sums = run.card, attribution_table.Sums()

    def work(batch: Batch) -> tuple[list[int], Measured]:
        return batch.image_ids, attribution_table.measured(run.model, run.lens, batch.images, batch.classes)

    vectors = attribution_table.vector_schema(card, vector_width(run.lens))
    read = card.image_tokens if card.pooling == "mean" else card.prefix_tokens
    bytes_per_image = 4 * card.depth * card.width * (2 * read + 2 * card.heads)
    with (
        parquet.table_writer(args.terms, attribution_table.SCHEMA, run.metadata) as write_terms,
        parquet.table_writer(args.vectors, vectors, run.metadata) as write_vectors,
    ):

        def write(result: tuple[list[int], Measured]) -> None:
            image_ids, batch = result
            write_terms(attribution_table.rows(image_ids, batch.classes.numpy(), batch.logits.numpy(), card))
            write_vectors(attribution_table.vector_rows(image_ids, batch.found, vectors))
            sums.add(batch)

        run.each("attribution", bytes_per_image, work, write)
    write_tensors(args.means, sums.means(), run.metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
