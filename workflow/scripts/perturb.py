"""Rank the class at every token, and record correctness, with attention cut or tokens removed."""

from argparse import Namespace

import pyarrow as pa
import torch

import cli
import model_cli
from classlens.analyses import perturbation
from classlens.analyses.groups import TokenLabels
from classlens.config.steps import PerturbationStep
from classlens.data.batches import Batch
from classlens.models import token_pruning
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, PerturbationStep).of_images()
    return parser.maybe(tokens="token labels, if the images have masks").one(ranks="ranks to write", accuracy="correctness to write")


@torch.inference_mode()
def main(args: Namespace, settings: PerturbationStep) -> None:
    run = model_cli.model_run(args)
    token_pruning.check(run.model, run.card.arch)
    labels = TokenLabels(parquet.read_table(args.tokens), run.card) if args.tokens else None
    names = perturbation.conditions(run.card, settings.analyses, masks=labels is not None)
    perturb = perturbation.Perturbations(run.model, run.lens, run.card, names, run.protocol)

    def work(batch: Batch) -> list[tuple[pa.RecordBatch, pa.RecordBatch]]:
        return [(outcome.ranks(batch.image_ids), outcome.accuracy(batch.image_ids)) for outcome in perturb(batch, labels)]

    with (
        parquet.table_writer(args.ranks, perturbation.SCHEMA, run.metadata) as write_ranks,
        parquet.table_writer(args.accuracy, perturbation.ACCURACY_SCHEMA, run.metadata) as write_accuracy,
    ):

        def write(outcomes: list[tuple[pa.RecordBatch, pa.RecordBatch]]) -> None:
            for ranks, accuracy in outcomes:
                write_ranks(ranks)
                write_accuracy(accuracy)

        run.each("perturbations", run.card.tokens * run.card.width * 4, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
