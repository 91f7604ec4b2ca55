"""Extract the hidden states, memory keys and predictions of one shard, in one forward pass per image."""

from argparse import Namespace
from dataclasses import replace

import pyarrow.compute as pc

import cli
import model_cli
from classlens.analyses import extraction
from classlens.config.steps import ExtractionStep


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, ExtractionStep).of_images()
    parser.one(states="hidden states to write", predictions="predictions to write")
    return parser.maybe(memory_keys="memory keys to write (optional)")


def main(args: Namespace, settings: ExtractionStep) -> None:
    run = model_cli.model_run(args)
    shard = replace(run, manifest=run.manifest.filter(pc.field("shard") == settings.shard))
    extraction.extract(shard, settings.dtype, extraction.Outputs(args.states, args.predictions, args.memory_keys))


if __name__ == "__main__":
    cli.run(main, arguments())
