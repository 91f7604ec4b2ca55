"""Shared code of the programs that run a model."""

from argparse import Namespace

import cli
from classlens.analyses.model_run import ModelRun
from classlens.compute.device import Compute
from classlens.config.settings import Section
from classlens.config.steps import RunSettings
from classlens.errors import InputError
from classlens.protocol import Protocol


class ModelParser(cli.Parser):
    """A parser of the arguments of a program that runs a model. `args.run` holds device, batch size and other settings of the machine."""

    def __init__(self, description: str | None, settings: type[Section], **further: type[Section]):
        super().__init__(description, settings, run=RunSettings, **further)

    def of_images(self) -> "ModelParser":
        """Add the arguments for the model and its images."""
        self.one(weights="the model's model.safetensors", card="its model.json", manifest="manifest of the split")
        self.one(root="folder of the data set")
        return self


def compute(args: Namespace, precision: str = "float32") -> Compute:
    """Return the device and its settings, after reserving a GPU if the program uses one.

    Raises:
        InputError: the device does not exist.
    """
    return Compute.from_settings(**dict(args.run), precision=precision, threads=args.threads)


def model_run(args: Namespace) -> ModelRun:
    """Load the model and the manifest that a program received (`ModelParser.of_images`).

    Raises:
        InputError: a file is missing or damaged, weights and card are not those of one folder, or the device does not exist.
    """
    settings = args.settings
    if (args.weights, args.card.name) != (args.card.with_name("model.safetensors"), "model.json"):
        raise InputError(f"{args.weights} and {args.card} must be model.safetensors and model.json of one folder")
    return ModelRun.load(
        model=args.card.parent,
        manifest=args.manifest,
        root=args.root,
        compute=compute(args, settings.precision),
        protocol=Protocol.named(settings.protocol),
        provenance=lambda sha256: cli.provenance(settings, sha256),
    )
