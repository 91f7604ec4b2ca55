"""Make maps of which image tokens matter for a class: the paper's and the baselines."""

import argparse
from pathlib import Path

import polars as pl

from classlens import cli, compute, kept_tokens, models, relevance_maps, relevance_table, storage
from classlens.batches import batches, load_pixels
from classlens.lens import Lens
from classlens.manifest_classes import classes_of
from classlens.protocol import Protocol
from classlens.transforms import Transform

SHOWN = 3


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--probes", type=Path, nargs="*", default=[], help="ranks of linear probes; none to leave their maps out")
    parser.add_argument("--classes", nargs="+", choices=relevance_maps.CHOICES, required=True, help="classes of every image")
    parser.add_argument("--images", type=cli.json_argument, default={}, help="further classes by image, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random maps")
    parser.add_argument("--relevance", type=Path, required=True, help="maps to write")
    parser.add_argument("--heads", type=Path, required=True, help="maps per block and head to write")
    parser.add_argument("--shown", type=Path, required=True, help="images of the figure to write, as the model sees them")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    run = compute.from_arguments(args)
    model, card = models.load_model(args.model)
    kept_tokens.check(model, card.arch)
    model.to(run.device)
    manifest = storage.read_table(args.manifest)
    named = relevance_maps.resolve_classes(args.images, manifest, classes_of(manifest))
    explain = relevance_maps.Explainer(model, Lens.from_model(model), args.classes, named, args.seed, Protocol.named(args.protocol))
    transform, provenance = Transform(card.transform), {**cli.provenance(args, card.sha256), **card.metadata}
    size = run.batch_for(card.depth * card.heads * card.tokens**2 * 4 * 4)
    images = batches(manifest, args.root, transform, size, run.workers, run.device)
    with (
        storage.table_writer(args.relevance, relevance_table.schema(card), provenance) as write,
        storage.table_writer(args.heads, relevance_table.heads_schema(card), provenance) as write_heads,
        run.autocast(),
    ):
        for batch in cli.progress(images, len(manifest), "relevance maps", size=len):
            maps = explain(batch)
            write(maps.table(card))
            write_heads(maps.heads(card))
        if args.probes:
            classes = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
            write(relevance_table.probe_table(pl.DataFrame(storage.read_table(args.probes[0])), classes, card))
    shown = relevance_maps.shown_images(named, manifest, SHOWN)
    pixels = [load_pixels(row, args.root, transform).permute(1, 2, 0).numpy() for row in shown]
    storage.write_table(args.shown, relevance_table.shown_table(shown, pixels), provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
