"""Rank the class at every token, and predict, while attention is cut or tokens are removed."""

import argparse
from pathlib import Path

import pyarrow as pa
import torch

from classlens import cli, model_run, perturbation, storage
from classlens.batches import Batch
from classlens.groups import TokenLabels


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    model_run.add_arguments(parser)
    parser.add_argument("--tokens", type=Path, nargs="*", default=[], help="token labels; none where there are no masks")
    parser.add_argument("--analyses", nargs="+", choices=["attention", "tokens"], required=True, help="what to perturb")
    parser.add_argument("--ranks", type=Path, required=True, help="ranks to write")
    parser.add_argument("--accuracy", type=Path, required=True, help="predictions' correctness to write")
    return parser.parse_args()


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    run = model_run.from_arguments(args)
    labels = TokenLabels(storage.read_table(args.tokens[0]), run.card) if args.tokens else None
    names = perturbation.conditions(run.card, args.analyses, masks=labels is not None)
    perturb = perturbation.Perturbations(run.model, run.lens, run.card, names, run.protocol)

    def work(batch: Batch) -> list[tuple[pa.RecordBatch, pa.RecordBatch]]:
        return [(outcome.ranks(batch.image_ids), outcome.accuracy(batch.image_ids)) for outcome in perturb(batch, labels)]

    with (
        storage.table_writer(args.ranks, perturbation.SCHEMA, run.provenance) as write_ranks,
        storage.table_writer(args.accuracy, perturbation.ACCURACY_SCHEMA, run.provenance) as write_accuracy,
    ):

        def write(outcomes: list[tuple[pa.RecordBatch, pa.RecordBatch]]) -> None:
            for ranks, accuracy in outcomes:
                write_ranks(ranks)
                write_accuracy(accuracy)

        run.each("perturbations", run.card.tokens * run.card.width * 4, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
