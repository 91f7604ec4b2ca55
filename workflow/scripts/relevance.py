"""Make maps of which image tokens matter for a class: the paper's and the baselines."""

import argparse
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa

from classlens import cli, model_run, relevance_maps, relevance_table, storage
from classlens.batches import Batch, load_pixels
from classlens.manifest_classes import classes_of

SHOWN = 3


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    model_run.add_arguments(parser)
    parser.add_argument("--probes", type=Path, nargs="*", default=[], help="ranks of linear probes; none to leave their maps out")
    parser.add_argument("--classes", nargs="+", choices=relevance_maps.CHOICES, required=True, help="classes of every image")
    parser.add_argument("--images", type=cli.json_argument, default={}, help="further classes by image, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random maps")
    parser.add_argument("--relevance", type=Path, required=True, help="maps to write")
    parser.add_argument("--heads", type=Path, required=True, help="maps per block and head to write")
    parser.add_argument("--shown", type=Path, required=True, help="images of the figure to write, as the model sees them")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    run = model_run.from_arguments(args)
    card = run.card
    named = relevance_maps.resolve_classes(args.images, run.manifest, classes_of(run.manifest))
    explain = relevance_maps.Explainer(run.model, run.lens, args.classes, named, args.seed, run.protocol)

    def work(batch: Batch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        maps = explain(batch)
        return maps.table(card), maps.heads(card)

    with (
        storage.table_writer(args.relevance, relevance_table.schema(card), run.provenance) as write,
        storage.table_writer(args.heads, relevance_table.heads_schema(card), run.provenance) as write_heads,
    ):
        bytes_per_image = 16 * card.depth * card.heads * card.tokens**2
        run.each("relevance maps", bytes_per_image, work, partial(storage.write_all, [write, write_heads]))
        if args.probes:
            write(relevance_table.probe_table(pl.DataFrame(storage.read_table(args.probes[0])), run.classes, card))
    shown = relevance_maps.shown_images(named, run.manifest, SHOWN)
    pixels = [load_pixels(row, args.root, run.transform).permute(1, 2, 0).numpy() for row in shown]
    storage.write_table(args.shown, relevance_table.shown_table(shown, pixels), run.provenance)


if __name__ == "__main__":
    cli.run(main, arguments())
