"""Make the random twins of a model, one per seed, and measure them in one pass over the images, without storing hidden states."""

from argparse import Namespace

import polars as pl
import pyarrow as pa

import cli
import model_cli
from classlens.analyses import agreement, identifiability, projection_table, twins
from classlens.analyses.agreement import MemoryUse
from classlens.analyses.twins import Settings, Twin
from classlens.compute.device import Compute
from classlens.config.settings import HubSettings
from classlens.config.steps import TwinsStep
from classlens.data.manifest_classes import class_index, classes_of
from classlens.models import loading, new_model
from classlens.models.hub import Hub
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, TwinsStep, hub=HubSettings)
    parser.one(manifest="manifest of the analysed split", root="folder of the data set")
    parser.maybe(class_embedding="class embedding that replaces the model's head; the twins get random vectors of its shape")
    parser.many(weights_files="safetensors file of each twin to write", cards="model.json of each twin to write, in the same folder")
    parser.many(predictions="predictions of each twin to write", projections="projections to write, twin by twin, all shards of each")
    parser.many(class_logits="shards of the first twin to write", identifiability="measures per image of each twin to write")
    parser.many(ranks="counts of ranks of each twin to write")
    tables = ("class_value_agreement", "key_value_agreement", "composition", "chance")
    return parser.many(**dict.fromkeys(tables, "table of each twin to write, if its memories are compared"))


def make_twin(args: Namespace, settings: TwinsStep, number: int, manifest: pa.Table, run: Compute) -> Twin:
    """Make the twin of one seed, and measure its weights without images."""
    weights, card_path = args.weights_files[number], args.cards[number]
    wanted = new_model.ModelDescription.of(settings.model_dump(), {"class_embedding": args.class_embedding, "class_list": args.manifest})
    new_model.make(wanted, Hub(args.hub.cache, args.hub.offline), settings.seeds[number], weights, card_path)
    model, card = loading.load_model(weights.parent)
    provenance, use = cli.provenance(settings, card.sha256), None
    if args.class_value_agreement:
        parquet.write_table(args.class_value_agreement[number], agreement.class_value_table(model).to_arrow(), provenance)
        classes = dict(zip(manifest["image_id"].to_pylist(), manifest["class_index"].to_pylist(), strict=True))
        use = MemoryUse(agreement.layer_memories(model), card, classes, Protocol.named(settings.protocol))
    shards = len(args.class_logits)
    projections = args.projections[number * shards : (number + 1) * shards]
    class_logits = [] if number else args.class_logits
    return Twin(run.place(model), card, args.predictions[number], projections, class_logits, use, provenance)


def write_measures(args: Namespace, number: int, twin: Twin, protocol: Protocol) -> None:
    """Write a twin's measures per image."""
    card = twin.card
    metadata = {**twin.provenance, **card.metadata}
    measures, ranks = identifiability.per_image(projection_table.read(twin.projections, card), card, protocol)
    parquet.write_table(args.identifiability[number], measures.to_arrow(), metadata)
    parquet.write_table(args.ranks[number], ranks.to_arrow(), metadata)
    if twin.use:
        agreements, composition = twin.use.tables(pl.DataFrame(parquet.read_table(twin.predictions)))
        parquet.write_table(args.key_value_agreement[number], agreements.to_arrow(), twin.provenance)
        parquet.write_table(args.composition[number], composition.to_arrow(), twin.provenance)
        parquet.write_table(args.chance[number], twin.use.chance().to_arrow(), twin.provenance)


def main(args: Namespace, settings: TwinsStep) -> None:
    run, manifest = model_cli.compute(args, settings.precision), parquet.read_table(args.manifest)
    protocol = Protocol.named(settings.protocol)
    further = [class_index(item, classes_of(manifest), "projection.classes") for item in settings.classes]
    found = [make_twin(args, settings, number, manifest, run) for number in range(len(settings.seeds))]
    twins.measure(found, manifest, args.root, Settings(settings.dtype, settings.top_k, further, protocol), run)
    for number, twin in enumerate(found):
        write_measures(args, number, twin, protocol)


if __name__ == "__main__":
    cli.run(main, arguments())
