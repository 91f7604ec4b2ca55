"""Measure what the tuned lens reads from hidden states, beside the projection (logit lens)."""

from argparse import Namespace

import cli
import model_cli
from classlens.analyses import tuned_lens
from classlens.analyses.groups import TokenLabels
from classlens.analyses.tuned_lens import TunedLens
from classlens.config.settings import ProtocolSetting
from classlens.lens import Lens
from classlens.models import loading
from classlens.protocol import Protocol
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = model_cli.ModelParser(__doc__, ProtocolSetting)
    parser.one(weights="the model's model.safetensors", card="its model.json", manifest="manifest of the analysed split")
    parser.many(states="its hidden states, shards in order").one(maps="maps of the tuned lens")
    return parser.maybe(tokens="labels of its image tokens").one(measures="measures per image to write")


def main(args: Namespace, settings: ProtocolSetting) -> None:
    model, card = loading.load_model(args.card.parent)
    run, maps = model_cli.compute(args), TunedLens.read(args.maps, card.sha256)
    compare = tuned_lens.Comparison(run.place(Lens.from_model(model)), maps, card, Protocol.named(settings.protocol))
    manifest = parquet.read_table(args.manifest, ["image_id", "class_index"])
    labels = TokenLabels(parquet.read_table(args.tokens), card) if args.tokens else None
    found = compare(tuned_lens.stored(args.states, card, run.device), manifest, labels)
    parquet.write_table(args.measures, found.to_arrow(), {**cli.provenance(settings, card.sha256), **card.metadata})


if __name__ == "__main__":
    cli.run(main, arguments())
