"""Project one shard of hidden states onto the class embedding."""

from argparse import Namespace

import pyarrow.compute as pc

import cli
import model_cli
from classlens.analyses import projection
from classlens.analyses.projection import Translate
from classlens.config.steps import ProjectionStep
from classlens.data.manifest_classes import class_index, classes_of
from classlens.lens import Lens
from classlens.models import loading
from classlens.protocol import Protocol
from classlens.storage import parquet
from classlens.vocabulary import PROJECTED_SITES


def arguments(description: str | None = __doc__) -> cli.Parser:
    parser = model_cli.ModelParser(description, ProjectionStep)
    parser.one(weights="the model's model.safetensors", card="its model.json", manifest="manifest of the split", states="hidden states")
    parser.one(predictions="predictions of the shard, with the likeliest classes")
    return parser.one(projections="projections to write", class_logits="logits of the classes of interest to write")


def main(args: Namespace, settings: ProjectionStep, translate: Translate | None = None, sites: tuple[str, ...] = PROJECTED_SITES) -> None:
    model, card = loading.load_model(args.card.parent)
    manifest = parquet.read_table(args.manifest, ["image_id", "class_index", "shard"])
    further = [class_index(item, classes_of(manifest), "projection.classes") for item in settings.classes]
    predictions = parquet.read_table(args.predictions, ["image_id", "top"], card.sha256)
    interest = projection.classes_of_interest(manifest.filter(pc.field("shard") == settings.shard), predictions, further)
    run = model_cli.compute(args)
    lens, protocol = run.place(Lens.from_model(model)), Protocol.named(settings.protocol)
    project = projection.Projector(lens, card, settings.top_k, run, protocol, translate)
    outputs = projection.Outputs(args.projections, args.class_logits)
    project.shard(args.states, interest, outputs, cli.provenance(settings, card.sha256), sites=sites)


if __name__ == "__main__":
    cli.run(main, arguments())
