"""Creation of a model from its description in a config: build it, check it, and write its weights and card."""

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
class ModelDescription:
    """A model as a config describes it.

    Attributes:
        arch: name in timm, or `hf-hub:` and a repository.
        weights: `pretrained`, `random` or `checkpoint`.
        kwargs: arguments of `timm.create_model`.
        num_classes: number of classes of the data set.
        protocol: determines the default transform.
        transform: the config's image transform; None for the default.
        checkpoint: file with the weights, if `weights` is `checkpoint`.
        sha256: required sha256 of the file with the weights; None accepts any.
        key_prefix: see `checkpoints.load`.
        ignore_keys: see `checkpoints.load`.
        class_embedding: file with a class embedding; None for the model's own head.
        normalization: how to compare states and vectors, `cosine` or `none`.
        temperature: divisor of the products.
        projection: whether to `keep` or `drop` the model's head before the vectors; None lets their width decide.
        class_list: table of the data set's classes in index order; required for weights or vectors from a file.
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
    def of(cls, settings: dict[str, Any], files: dict[str, Path | None]) -> "ModelDescription":
        """Return the model that settings (`steps.ModelStep`, `steps.TwinsStep`) and files describe."""
        known = {name: value for name, value in settings.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, **files, "protocol": Protocol.named(settings["protocol"])})


def make(wanted: ModelDescription, hub: Hub, seed: int, weights: Path, card: Path) -> None:
    """Make a model, check that it meets the method's assumptions, and write it.

    Args:
        wanted: description of the model.
        hub: source of pretrained weights.
        seed: seed of random weights.
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


def _read(wanted: ModelDescription, file: Path | None) -> tuple[Checkpoint | None, str]:
    """Check the sha256 of a file, and return its weights (None without a file) and their source for model.json."""
    name = wanted.checkpoint.name if wanted.checkpoint else wanted.weights
    if file is None:
        return None, name
    digest = check_sha256(file, wanted.sha256)
    checkpoint = checkpoints.read(file)
    nest = f", `{checkpoint.nest}`" if checkpoint.nest else ""
    return checkpoint, f"{name}{nest}, sha256 {digest}"


def _give_head(model: ViT, wanted: ModelDescription, architecture: Architecture) -> None:
    """Replace a model's head by the class embedding that the config names."""
    assert wanted.class_embedding and wanted.class_list
    vectors = class_embedding.read(wanted.class_embedding, classes_of(parquet.read_table(wanted.class_list)))
    vectors = vectors.random() if wanted.weights == "random" else vectors
    known = None if wanted.weights == "checkpoint" else class_embedding.is_projection(architecture.name, architecture.facts)
    keep = None if wanted.projection is None else wanted.projection == "keep"
    comparison = Comparison(wanted.normalization == "cosine", wanted.temperature, keep, known)
    class_embedding.attach(model, vectors, comparison, str(wanted.class_embedding))


def _arrange(model: ViT, wanted: ModelDescription, architecture: Architecture, checkpoint: Checkpoint) -> str | None:
    """Put the rows of a model's own head in the data set's class order, and return how this order is known."""
    assert wanted.class_list
    listed = parquet.read_table(wanted.class_list)
    found = labels.of_model(architecture, checkpoint, wanted.weights == "pretrained")
    return labels.reorder_head(model, found, classes_of(listed), order_of(listed), wanted.arch)
