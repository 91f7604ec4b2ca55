"""Make relevance maps of the image tokens for a class by all wanted methods."""

from argparse import Namespace
from functools import partial

import polars as pl
import pyarrow as pa

import cli
import model_cli
from classlens.analyses import relevance_maps, relevance_table
from classlens.config.steps import RelevanceStep
from classlens.data.batches import Batch, load_pixels
from classlens.data.manifest_classes import classes_of
from classlens.models import token_pruning
from classlens.storage import parquet

SHOWN = 3
"""Number of images in the figure."""


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, RelevanceStep).of_images().maybe(probes="ranks by linear probes, for maps of probes")
    return parser.one(maps="maps to write", heads="maps per block and head to write", shown="images of the figure to write")


def main(args: Namespace, settings: RelevanceStep) -> None:
    run = model_cli.model_run(args)
    card = run.card
    token_pruning.check(run.model, card.arch)
    named = relevance_maps.resolve_classes(settings.images, run.manifest, classes_of(run.manifest))
    baseline = relevance_maps.mean_embedding(run) if "integrated_gradients" in settings.methods else None
    explain = relevance_maps.Explainer(
        run.model, run.lens, settings.methods, settings.classes, named, seed=settings.seed, protocol=run.protocol, baseline=baseline
    )

    def work(batch: Batch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        maps = explain(batch)
        return maps.table(card), maps.table_of_heads(card)

    with (
        parquet.table_writer(args.maps, relevance_table.schema(card), run.metadata) as write,
        parquet.table_writer(args.heads, relevance_table.heads_schema(card), run.metadata) as write_heads,
    ):
        bytes_per_image = 16 * card.depth * card.tokens * (card.heads * card.tokens + 4 * card.width)
        run.each("relevance maps", bytes_per_image, work, partial(parquet.write_all, [write, write_heads]))
        if args.probes:
            write(relevance_table.probe_table(pl.DataFrame(parquet.read_table(args.probes)), run.classes, card))
    shown = relevance_maps.shown_images(named, run.manifest, SHOWN)
    pixels = [load_pixels(row, args.root, run.transform).permute(1, 2, 0).numpy() for row in shown]
    parquet.write_table(args.shown, relevance_table.shown_table(shown, pixels), run.metadata)


if __name__ == "__main__":
    cli.run(main, arguments())
