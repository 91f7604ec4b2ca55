"""Fit the maps of a tuned lens to stored hidden states."""

from argparse import Namespace

import cli
import model_cli
from classlens.analyses import tuned_lens
from classlens.analyses.tuned_lens import HALVES, Division, TunedLens
from classlens.analyses.tuned_lens_refinement import refine
from classlens.config.steps import TunedLensFitStep
from classlens.lens import Lens
from classlens.models import loading
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, TunedLensFitStep)
    parser.one(weights="the model's model.safetensors", card="its model.json", manifest="manifest of the split to fit on")
    return parser.many(states="hidden states of the split, shards in order").one(maps="maps to write")


def main(args: Namespace, settings: TunedLensFitStep) -> None:
    model, card = loading.load_model(args.card.parent)
    run = model_cli.compute(args)
    lens = run.place(Lens.from_model(model))
    images = parquet.read_table(args.manifest, ["image_id"])["image_id"].to_numpy()
    parts = HALVES if settings.halves else 1
    kinds = tuned_lens.kinds_of_tokens(card, lens.second_head is not None)
    division = Division(kinds, tuned_lens.parts_of(images, parts, settings.seed))
    batches = tuned_lens.stored(args.states, card, run.device)
    maps = tuned_lens.fit(batches, division, settings.ridge, card.depth)
    if settings.refine:
        maps = refine(maps, lens, batches, division, settings.seed)
    TunedLens(kinds, maps, parts, settings.seed).write(args.maps, cli.provenance(settings, card.sha256))


if __name__ == "__main__":
    cli.run(main, arguments())
