"""Remove image tokens in the order of each relevance map, and see whether the model is still right."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from classlens import cli, compute, deletion, kept_tokens, models, relevance_table, storage
from classlens.batches import batches
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.transforms import Transform


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--relevance", type=Path, required=True, help="relevance maps")
    parser.add_argument("--steps", type=cli.optional_int, help="numbers of removed tokens, evenly spread; all if left out")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random orders")
    parser.add_argument("--deletion", type=Path, required=True, help="correctness per image to write")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    run = compute.from_arguments(args)
    model, card = models.load_model(args.model)
    kept_tokens.check(model, card.arch)
    model.to(run.device)
    lens = Lens.from_model(model)
    manifest = storage.read_table(args.manifest)
    classes = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
    maps = relevance_table.true_class_maps(args.relevance, classes)
    removed = deletion.steps(card.image_tokens, args.steps, lens.pooled, Protocol.named(args.protocol))
    metadata = {**cli.provenance(args, card.sha256), **card.metadata, "removed": json.dumps(removed)}
    images = batches(manifest, args.root, Transform(card.transform), run.batch_for(card.tokens * card.width * 4), run.workers, run.device)
    with storage.table_writer(args.deletion, deletion.schema(len(removed)), metadata) as write, run.autocast():
        for batch in cli.progress(images, len(manifest), "deletion", size=len):
            of_batch = {method: values[np.searchsorted(ids, batch.image_ids)] for method, (ids, values) in maps.items()}
            curves = deletion.curves(of_batch, batch.image_ids, args.seed)
            orders = torch.from_numpy(np.stack([curve.removal for curve in curves])).to(run.device)
            correct = deletion.correct_after_removal(model, lens, batch.images, batch.classes, orders, removed)
            write(deletion.table(curves, batch.image_ids, correct.cpu().numpy()))


if __name__ == "__main__":
    cli.run(main, arguments())
