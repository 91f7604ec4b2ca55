"""Rank the class at every token, and predict, while attention is cut or tokens are removed."""

import argparse
from pathlib import Path

import torch

from classlens import cli, compute, kept_tokens, models, perturbation, storage
from classlens.batches import batches
from classlens.groups import TokenLabels
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.transforms import Transform


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--tokens", type=Path, nargs="*", default=[], help="token labels; none where there are no masks")
    parser.add_argument("--analyses", nargs="+", choices=["attention", "tokens"], required=True, help="what to perturb")
    parser.add_argument("--ranks", type=Path, required=True, help="ranks to write")
    parser.add_argument("--accuracy", type=Path, required=True, help="predictions' correctness to write")
    return parser.parse_args()


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    run = compute.from_arguments(args)
    model, card = models.load_model(args.model)
    kept_tokens.check(model, card.arch)
    model.to(run.device)
    labels = TokenLabels(storage.read_table(args.tokens[0]), card) if args.tokens else None
    manifest = storage.read_table(args.manifest)
    names = perturbation.conditions(card, args.analyses, masks=labels is not None)
    perturb = perturbation.Perturbations(model, Lens.from_model(model), card, names, Protocol.named(args.protocol))
    size = run.batch_for(card.tokens * card.width * 4)
    images = batches(manifest, args.root, Transform(card.transform), size, run.workers, run.device)
    provenance = {**cli.provenance(args, card.sha256), **card.metadata}
    with (
        storage.table_writer(args.ranks, perturbation.SCHEMA, provenance) as write_ranks,
        storage.table_writer(args.accuracy, perturbation.ACCURACY_SCHEMA, provenance) as write_accuracy,
        run.autocast(),
    ):
        for batch in cli.progress(images, len(manifest), "perturbations", size=len):
            for outcome in perturb(batch, labels):
                write_ranks(outcome.ranks(batch.image_ids))
                write_accuracy(outcome.accuracy(batch.image_ids))


if __name__ == "__main__":
    cli.run(main, arguments())
