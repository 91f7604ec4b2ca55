"""What programs share that run a model over the images of a split, beyond extraction: perturbation, relevance and deletion."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from classlens import cli, compute, kept_tokens, models, out_of_memory, storage
from classlens.batches import Batch, batches
from classlens.card import Card
from classlens.compute import Compute
from classlens.lens import Lens
from classlens.protocol import Protocol
from classlens.trace import ViT
from classlens.transforms import Transform

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelRun:
    """A model on its device, and the images that it is to be run on.

    Attributes:
        model: in evaluation mode.
        lens: its lens.
        card: its card.
        manifest: the images.
        root: folder of the data set.
        transform: from file to input.
        compute: how to run.
        protocol: which definitions to follow.
        provenance: schema metadata of what is written.
    """

    model: ViT
    lens: Lens
    card: Card
    manifest: pa.Table
    root: Path
    transform: Transform
    compute: Compute
    protocol: Protocol
    provenance: dict[str, str]

    @property
    def classes(self) -> dict[int, int]:
        """Class index of each image id."""
        return dict(zip(self.manifest["image_id"].to_pylist(), self.manifest["class_index"].to_pylist(), strict=True))

    def each(self, what: str, bytes_per_image: int, work: Callable[[Batch], Result], write: Callable[[Result], None]) -> None:
        """Do some work on the images in batches and write its results in order, with progress (`out_of_memory.each`).

        Args:
            what: what is being done, for people.
            bytes_per_image: activations that are kept of an image.
            work: computes and writes nothing.
            write: what becomes of a batch's result.
        """
        size, run = self.compute.batch_for(on_device=bytes_per_image), self.compute
        found = batches(self.manifest, self.root, self.transform, size, run.workers, run.device)
        with run.autocast():
            out_of_memory.each(cli.progress(found, len(self.manifest), what, size=len), work, write)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments from which `from_arguments` makes a `ModelRun`."""
    compute.add_arguments(parser)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")


def from_arguments(args: argparse.Namespace) -> ModelRun:
    """The `ModelRun` that a program was asked for.

    Raises:
        InputError: a file is damaged, the device does not exist, or tokens of the model cannot be removed.
    """
    run = compute.from_arguments(args)
    model, card = models.load_model(args.model)
    kept_tokens.check(model, card.arch)
    return ModelRun(
        run.place(model),
        Lens.from_model(model),
        card,
        storage.read_table(args.manifest),
        args.root,
        Transform(card.transform),
        run,
        Protocol.named(args.protocol),
        {**cli.provenance(args, card.sha256), **card.metadata},
    )
