"""Remove image tokens in the order of each relevance map, and see whether the model is still right."""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from classlens import cli, deletion, model_run, relevance_table, storage
from classlens.batches import Batch


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    model_run.add_arguments(parser)
    parser.add_argument("--relevance", type=Path, required=True, help="relevance maps")
    parser.add_argument("--steps", type=cli.optional_int, help="numbers of removed tokens, evenly spread; all if left out")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random orders")
    parser.add_argument("--deletion", type=Path, required=True, help="correctness per image to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    run = model_run.from_arguments(args)
    maps = relevance_table.true_class_maps(args.relevance, run.classes, run.card.sha256)
    tied = {method for method, (_, values) in maps.items() if deletion.has_ties(values)}
    removed = deletion.steps(run.card.image_tokens, args.steps, run.lens.pooled, run.protocol)

    def work(batch: Batch) -> pa.RecordBatch:
        of_batch = {method: values[np.searchsorted(ids, batch.image_ids)] for method, (ids, values) in maps.items()}
        curves = deletion.curves(of_batch, batch.image_ids, tied, args.seed, run.protocol)
        orders = torch.from_numpy(np.stack([curve.removal for curve in curves])).to(run.compute.device)
        correct = deletion.correct_after_removal(run.model, run.lens, batch.images, batch.classes, orders, removed)
        return deletion.table(curves, batch.image_ids, correct.cpu().numpy())

    metadata = {**run.provenance, "removed": json.dumps(removed)}
    with storage.table_writer(args.deletion, deletion.schema(len(removed)), metadata) as write:
        run.each("deletion", run.card.tokens * run.card.width * 4, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
