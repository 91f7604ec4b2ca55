"""Remove image tokens in the order of each relevance map, and record what the model still says about the true class."""

import json
from argparse import Namespace

import numpy as np
import pyarrow as pa
import torch

import cli
import model_cli
from classlens.analyses import deletion, relevance_table
from classlens.config.steps import DeletionStep
from classlens.data.batches import Batch
from classlens.models import token_pruning
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, DeletionStep).of_images()
    return parser.one(relevance="relevance maps", deletion="correctness and probability per image to write")


def main(args: Namespace, settings: DeletionStep) -> None:
    run = model_cli.model_run(args)
    token_pruning.check(run.model, run.card.arch)
    maps = relevance_table.true_class_maps(args.relevance, run.classes, run.card.sha256)
    tied = {method for method, (_, values) in maps.items() if deletion.has_ties(values)}
    removed = deletion.steps(run.card.image_tokens, settings.steps, run.lens.pooled, run.protocol)

    def work(batch: Batch) -> pa.RecordBatch:
        of_batch = {method: values[np.searchsorted(ids, batch.image_ids)] for method, (ids, values) in maps.items()}
        curves = deletion.curves(of_batch, batch.image_ids, tied, settings.seed, run.protocol)
        orders = torch.from_numpy(np.stack([curve.removal for curve in curves]))
        after = deletion.after_removal(run.model, run.lens, batch, orders, removed)
        return deletion.table(curves, batch.image_ids, after)

    metadata = {**run.metadata, "removed": json.dumps(removed)}
    with parquet.table_writer(args.deletion, deletion.schema(len(removed)), metadata) as write:
        run.each("deletion", run.card.tokens * run.card.width * 4, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
