"""Project one shard of the residual stream through the tuned lens."""

from argparse import Namespace

import cli
import project
from classlens.analyses.tuned_lens import TunedLens
from classlens.config.steps import ProjectionStep
from classlens.models.card import Card
from classlens.storage import parquet


def arguments() -> cli.Parser:
    return project.arguments(__doc__).one(maps="maps of the tuned lens")


def main(args: Namespace, settings: ProjectionStep) -> None:
    images = parquet.read_table(args.manifest, ["image_id"])["image_id"].to_numpy()
    maps = TunedLens.read(args.maps, Card.read(args.card).sha256)
    project.main(args, settings, maps.on_images(images), ("resid_post",))


if __name__ == "__main__":
    cli.run(main, arguments())
