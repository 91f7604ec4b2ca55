"""A model on its device and the images that it is run on: what extraction, perturbations, relevance maps and deletion share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from classlens.compute import out_of_memory
from classlens.compute.device import Compute
from classlens.data.batches import Batch, batches
from classlens.data.transforms import Transform
from classlens.lens import Lens
from classlens.models import loading
from classlens.models.card import Card
from classlens.progress import progress
from classlens.protocol import Protocol
from classlens.storage import parquet
from classlens.trace import ViT

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

    @classmethod
    def load(
        cls, *, model: Path, manifest: Path, root: Path, compute: Compute, protocol: Protocol, provenance: Callable[[str], dict[str, str]]
    ) -> "ModelRun":
        """Load a model and the list of images.

        Args:
            model: folder of the model.
            manifest: manifest of the split.
            root: folder of the data set.
            compute: how to run.
            protocol: which definitions to follow.
            provenance: makes schema metadata from the sha256 of the weights.

        Raises:
            InputError: a file is damaged.
        """
        network, card = loading.load_model(model)
        network = compute.place(network)
        images, transform = parquet.read_table(manifest), Transform(card.transform)
        return cls(network, Lens.from_model(network), card, images, root, transform, compute, protocol, provenance(card.sha256))

    @property
    def metadata(self) -> dict[str, str]:
        """Schema metadata with what the card says of tokens and classes."""
        return {**self.provenance, **self.card.metadata}

    @property
    def classes(self) -> dict[int, int]:
        """Class index of each image id."""
        return dict(zip(self.manifest["image_id"].to_pylist(), self.manifest["class_index"].to_pylist(), strict=True))

    def batches(self, size: int) -> Iterator[Batch]:
        """The images in batches of a size, on the device."""
        compute = self.compute
        return batches(self.manifest, self.root, self.transform, size=size, workers=compute.workers, device=compute.device)

    def each(self, what: str, bytes_per_image: int, work: Callable[[Batch], Result], write: Callable[[Result], None]) -> None:
        """Do some work on the images in batches and write its results in order, with progress (`out_of_memory.each`).

        Args:
            what: what is being done, for people.
            bytes_per_image: activations that are kept of an image.
            work: computes and writes nothing.
            write: what becomes of a batch's result.
        """
        found = self.batches(self.compute.batch_for(on_device=bytes_per_image))
        with self.compute.autocast():
            out_of_memory.each(progress(found, len(self.manifest), what, size=len), work, write)
