"""Measure what happens to the output if a head or an MLP is replaced by its mean over images: directly, and with all later effects."""

from argparse import Namespace

import numpy as np
import pyarrow as pa
import torch

import cli
import model_cli
from classlens.analyses import ablation, attribution_table
from classlens.analyses.ablation import Effects
from classlens.compute.transfer import to_device
from classlens.config.steps import AblationStep
from classlens.data.batches import Batch
from classlens.models.card import Card
from classlens.progress import progress
from classlens.storage import parquet
from classlens.storage.tensors import read_tensors


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, AblationStep).of_images()
    return parser.one(vectors="vectors of all components", means="their means over images", effects="effects to write")


@torch.no_grad()
def main(args: Namespace, settings: AblationStep) -> None:
    run = model_cli.model_run(args)
    card, classes = run.card, run.classes
    means, _ = read_tensors(args.means, card.sha256)
    of_vectors = ablation.Means(means["heads"], means["mlps"])
    stored = parquet.StoredTable(args.vectors, card.sha256)
    with parquet.table_writer(args.effects, ablation.SCHEMA, run.metadata) as write:
        for group in progress(stored.groups(), len(run.manifest), "direct effects", size=len):
            ids = group["image_id"].to_pylist()
            own = torch.tensor([classes[image] for image in ids])
            for rows in Effects.of(ablation.direct(attribution_table.read_vectors(group, means, card), of_vectors), own).rows(ids):
                write(rows)
        placed = {name: to_device(mean, run.compute.device) for name, mean in means.items()}

        def work(batch: Batch) -> list[pa.RecordBatch]:
            return list(Effects.of(ablation.total(run.model, batch.images, placed), batch.classes).rows(batch.image_ids))

        def write_all(parts: list[pa.RecordBatch]) -> None:
            for part in parts:
                write(part)

        chosen = np.unique(np.linspace(0, len(run.manifest) - 1, min(settings.images, len(run.manifest))).astype(int))
        run.on(run.manifest.take(chosen)).each("total effects", _bytes_per_image(run.card), work, write_all)


def _bytes_per_image(card: Card) -> int:
    """Return the bytes that an image keeps during its total effects: the states before each block, and a copy per head."""
    return 4 * card.tokens * card.width * (card.depth + 8 * (card.heads + 1))


if __name__ == "__main__":
    cli.run(main, arguments())
