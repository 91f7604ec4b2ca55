"""A model on its device and its input images, as extraction, perturbation, relevance maps and deletion use them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from classlens.compute import out_of_memory
from classlens.compute.device import Compute
from classlens.compute.transfer import writing_beside
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
    """A model on its device, and its input images.

    Attributes:
        model: model in evaluation mode.
        lens: the model's lens.
        card: the model's card.
        manifest: manifest of the images.
        root: folder of the data set.
        transform: transform from image files to model input.
        compute: device and settings of forward passes.
        protocol: protocol whose definitions apply.
        provenance: schema metadata of the written tables.
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
        """Load a model and the manifest of its images.

        Args:
            model: folder of the model.
            manifest: manifest of the split.
            root: folder of the data set.
            compute: device and settings of forward passes.
            protocol: protocol whose definitions apply.
            provenance: function that returns schema metadata for the sha256 of the weights.

        Raises:
            InputError: a file is damaged.
        """
        network, card = loading.load_model(model)
        network = compute.place(network)
        images, transform = parquet.read_table(manifest), Transform(card.transform)
        return cls(network, Lens.from_model(network), card, images, root, transform, compute, protocol, provenance(card.sha256))

    def on(self, manifest: pa.Table) -> "ModelRun":
        """Return the same model on other images of the data set."""
        return replace(self, manifest=manifest)

    @property
    def metadata(self) -> dict[str, str]:
        """Schema metadata: provenance, and the tokens and classes from the card."""
        return {**self.provenance, **self.card.metadata}

    @property
    def classes(self) -> dict[int, int]:
        """Class index of each image id."""
        return dict(zip(self.manifest["image_id"].to_pylist(), self.manifest["class_index"].to_pylist(), strict=True))

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the images in batches of `size`, on the device."""
        compute = self.compute
        return batches(self.manifest, self.root, self.transform, size=size, workers=compute.workers, device=compute.device)

    def each(self, what: str, bytes_per_image: int, work: Callable[[Batch], Result], write: Callable[[Result], None]) -> None:
        """Process the images in batches and write the results in order, with progress (`out_of_memory.process_batches`).

        Args:
            what: description of the work, for people.
            bytes_per_image: size of the activations that each image keeps on the device.
            work: function that computes the result of a batch, without writing.
            write: function that writes the result of a batch.
        """
        found = self.batches(self.compute.batch_for(on_device=bytes_per_image))
        with self.compute.autocast(), writing_beside(self.compute.device, write) as write_result:
            out_of_memory.process_batches(progress(found, len(self.manifest), what, size=len), work, write_result)
