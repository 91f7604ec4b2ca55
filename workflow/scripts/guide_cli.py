"""Shared code of the programs that treat the images that the explorer shows."""

from argparse import Namespace

import cli
from classlens.explorer.choice import Choice


def of_guide(parser: cli.Parser) -> cli.Parser:
    """Add the arguments for the model that chooses the images."""
    parser.maybe(guide_card="model.json of the model that chooses the images (default: show all)", guide_predictions="its predictions")
    return parser.many(guide_projections="its shards of projections, in order")


def choice(args: Namespace, number: int | None) -> Choice:
    """Return the choice of images that a program received (`of_guide`), with the number of images to choose; None for all."""
    return Choice(number, args.guide_card, args.guide_predictions, args.guide_projections)
