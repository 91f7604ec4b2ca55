"""A model made from what a config says of it, checked, and kept as weights and a card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classlens.data.manifest_classes import classes_of, order_of
from classlens.models import checkpoints, class_embedding, labels, loading
from classlens.models.checkpoints import Checkpoint
from classlens.models.class_embedding import Comparison
from classlens.models.hub import Architecture, Hub
from classlens.protocol import Protocol
from classlens.storage import parquet
from classlens.storage.provenance import check_sha256
from classlens.trace import ViT


@dataclass(frozen=True)
class Wanted:
    """A model as a config asks for it.

    Attributes:
        arch: its name in timm, or `hf-hub:` and a repository.
        weights: `pretrained`, `random` or `checkpoint`.
        kwargs: arguments of `timm.create_model`.
        num_classes: number of classes of the data set.
        protocol: settles the default transform.
        transform: the config's image transform; None for the default.
        checkpoint: file of the weights, for `checkpoint`.
        sha256: that the file of the weights must have; None for any.
        key_prefix: see `checkpoints.load`.
        ignore_keys: see `checkpoints.load`.
        class_embedding: file of vectors to use instead of the model's head.
        normalization: `cosine` or `none`: how states and vectors are compared.
        temperature: what the products are divided by.
        projection: `keep` or `drop` the model's head before the vectors; None to decide by their width.
        class_list: table of the data set's classes in the order of their indices, for weights or vectors from a file.
    """

    arch: str
    weights: str
    kwargs: dict[str, Any]
    num_classes: int
    protocol: Protocol
    transform: dict[str, Any] | None = None
    checkpoint: Path | None = None
    sha256: str | None = None
    key_prefix: str = ""
    ignore_keys: Sequence[str] = ()
    class_embedding: Path | None = None
    normalization: str = "none"
    temperature: float = 1.0
    projection: str | None = None
    class_list: Path | None = None

    @classmethod
    def of(cls, settings: dict[str, Any], files: dict[str, Path | None]) -> "Wanted":
        """A model as settings (`steps.ModelStep`, `steps.TwinsStep`) and files describe it."""
        known = {name: value for name, value in settings.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, **files, "protocol": Protocol.named(settings["protocol"])})


def make(wanted: Wanted, hub: Hub, seed: int, weights: Path, card: Path) -> None:
    """Make a model, check that it is what the method assumes, and write it.

    Args:
        wanted: the model.
        hub: where pretrained weights come from.
        seed: of random weights.
        weights: safetensors file to write.
        card: model.json to write.

    Raises:
        InputError: the model, its weights or its class embedding do not fit.
    """
    architecture = hub.architecture(wanted.arch)
    file = hub.weights(architecture) if wanted.weights == "pretrained" else wanted.checkpoint
    checkpoint, source = _read(wanted, file)
    model = loading.make_model(
        architecture,
        wanted.weights,
        wanted.kwargs,
        wanted.num_classes,
        seed,
        checkpoint=checkpoint,
        key_prefix=wanted.key_prefix,
        ignore_keys=list(wanted.ignore_keys),
        head=(lambda model: _give_head(model, wanted, architecture)) if wanted.class_embedding else None,
    )
    known = _arrange(model, wanted, architecture, checkpoint) if checkpoint and not wanted.class_embedding else None
    loading.save(model, weights)
    kwargs = {**architecture.kwargs, **wanted.kwargs}
    described = loading.describe(
        model, architecture.name, kwargs, source, transform=wanted.transform, protocol=wanted.protocol, weights=weights, labels=known
    )
    described.write(card)


def _read(wanted: Wanted, file: Path | None) -> tuple[Checkpoint | None, str]:
    """Return the weights in a file, which must have the config's sha256, and where they come from, for model.json."""
    name = wanted.checkpoint.name if wanted.checkpoint else wanted.weights
    if file is None:
        return None, name
    digest = check_sha256(file, wanted.sha256)
    checkpoint = checkpoints.read(file)
    nest = f", `{checkpoint.nest}`" if checkpoint.nest else ""
    return checkpoint, f"{name}{nest}, sha256 {digest}"


def _give_head(model: ViT, wanted: Wanted, architecture: Architecture) -> None:
    """Replace a model's head by the class embedding that was asked for."""
    assert wanted.class_embedding and wanted.class_list
    vectors = class_embedding.read(wanted.class_embedding, classes_of(parquet.read_table(wanted.class_list)))
    vectors = vectors.random() if wanted.weights == "random" else vectors
    known = None if wanted.weights == "checkpoint" else class_embedding.is_projection(architecture.name, architecture.facts)
    keep = None if wanted.projection is None else wanted.projection == "keep"
    comparison = Comparison(wanted.normalization == "cosine", wanted.temperature, keep, known)
    class_embedding.attach(model, vectors, comparison, str(wanted.class_embedding))


def _arrange(model: ViT, wanted: Wanted, architecture: Architecture, checkpoint: Checkpoint) -> str | None:
    """Put the rows of a model's own head in the order of the data set's classes, and return how the order is known."""
    assert wanted.class_list
    listed = parquet.read_table(wanted.class_list)
    found = labels.of_model(architecture, checkpoint, wanted.weights == "pretrained")
    return labels.arrange(model, found, classes_of(listed), order_of(listed), wanted.arch)
