"""Measure what each head writes from each token into the logits of the true class and its rival, for the images that the explorer shows."""

from argparse import Namespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

import cli
import guide_cli
import model_cli
from classlens.analyses import attribution_tokens
from classlens.compute.transfer import to_device
from classlens.config.steps import AttributionTokensStep
from classlens.data.batches import Batch
from classlens.explorer.choice import predictions_of
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = guide_cli.of_guide(model_cli.ModelParser(__doc__, AttributionTokensStep).of_images())
    return parser.one(predictions="predictions", terms="terms to write")


def main(args: Namespace, settings: AttributionTokensStep) -> None:
    run = model_cli.model_run(args)
    card, predictions = run.card, predictions_of(args.predictions, run.card)
    shown = guide_cli.choice(args, settings.images).among(list(predictions))
    run = run.on(run.manifest.filter(pc.is_in(run.manifest["image_id"], pa.array(shown, pa.int32()))))

    def work(batch: Batch) -> pa.RecordBatch:
        classes = np.array([attribution_tokens.own_and_rival(predictions[image]) for image in batch.image_ids])
        wanted = to_device(torch.from_numpy(classes), batch.classes.device)
        return attribution_tokens.rows(batch.image_ids, classes, *attribution_tokens.terms(run.model, run.lens, batch.images, wanted), card)

    read = card.image_tokens if card.pooling == "mean" else card.prefix_tokens
    bytes_per_image = 4 * card.depth * card.tokens * (3 * card.heads * read + 2 * card.width)
    with parquet.table_writer(args.terms, attribution_tokens.SCHEMA, run.metadata) as write:
        run.each("terms of heads by token", bytes_per_image, work, write)


if __name__ == "__main__":
    cli.run(main, arguments())
