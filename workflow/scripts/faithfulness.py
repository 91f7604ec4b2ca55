"""Remove groups of image tokens that differ in relevance, and compare what the model loses with their relevance (SaCo)."""

from argparse import Namespace

import numpy as np
import polars as pl
import pyarrow as pa

import cli
import model_cli
from classlens.analyses import faithfulness, relevance_table
from classlens.analyses.relevance import random_map
from classlens.config.steps import FaithfulnessStep
from classlens.data.batches import Batch
from classlens.models import token_pruning
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, FaithfulnessStep).of_images()
    parser.one(relevance="relevance maps", images="coefficients per image to write", scores="means to write")
    return parser.one(differences="differences of pairs of methods to write")


def main(args: Namespace, settings: FaithfulnessStep) -> None:
    run = model_cli.model_run(args)
    token_pruning.check(run.model, run.card.arch)
    maps = relevance_table.true_class_maps(args.relevance, run.classes, run.card.sha256)

    def work(batch: Batch) -> pa.RecordBatch:
        of_batch = np.stack([values[np.searchsorted(ids, batch.image_ids)] for ids, values in maps.values()])
        breaker = np.stack([random_map(settings.seed, 0, image, run.card.image_tokens) for image in batch.image_ids])
        found = faithfulness.scores(run.model, run.lens, batch, of_batch, None if run.protocol.ties_by_position else breaker)
        return faithfulness.table(list(maps), batch.image_ids, found)

    with parquet.table_writer(args.images, faithfulness.SCHEMA, run.metadata) as write:
        run.each("faithfulness", run.card.tokens * run.card.width * 4, work, write)
    scores, differences = faithfulness.tables(pl.DataFrame(parquet.read_table(args.images)), run.protocol, settings.seed)
    parquet.write_table(args.scores, scores.to_arrow(), run.metadata)
    parquet.write_table(args.differences, differences.to_arrow(), run.metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
