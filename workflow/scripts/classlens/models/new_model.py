"""Creation of a model from its description in a config: build it, check it, and write its weights and card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from classlens.data.manifest_classes import classes_of, order_of
from classlens.errors import InputError
from classlens.models import checkpoints, class_embedding, labels, loading, transformers_config
from classlens.models.card import Card
from classlens.models.checkpoints import Checkpoint
from classlens.models.class_embedding import Comparison, Vectors
from classlens.models.hub import Architecture, Hub
from classlens.models.labels import RowOrder
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
        key_prefix: see `checkpoints.without_prefix`.
        ignore_keys: see `checkpoints.load`.
        class_embedding: file with a class embedding; None for the model's own head.
        random_vectors: whether to use random vectors of the class embedding's shape.
        normalization: how to compare states and vectors, `cosine` or `none`; None for what the file says.
        temperature: divisor of the products; None for what the file says.
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
    random_vectors: bool = False
    normalization: str | None = None
    temperature: float | None = None
    projection: str | None = None
    class_list: Path | None = None

    @classmethod
    def of(cls, settings: dict[str, Any], files: dict[str, Path | None]) -> "ModelDescription":
        """Return the model that settings (`steps.ModelStep`, `steps.TwinsStep`) and files describe."""
        known = {name: value for name, value in settings.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, **files, "protocol": Protocol.named(settings["protocol"])})


@dataclass(frozen=True)
class NewModel:
    """A model that has passed the self-check and is not written yet.

    Attributes:
        model: the model, in evaluation mode on the CPU.
        wanted: its description in the config.
        source: what it was built from.
        rows: rows of the head as labels name them; None if only the data set's class order says so.
        vectors: the class vectors that replace its head; None for its own head.
    """

    model: ViT
    wanted: ModelDescription
    source: "Source"
    rows: RowOrder | None
    vectors: Vectors | None

    @property
    def transform(self) -> dict[str, Any]:
        """The image transform (`loading.transform_of`)."""
        return loading.transform_of(self.model, self.source.architecture.name, self.source.transform, self.wanted.protocol)

    def card(self, weights: Path | None = None) -> Card:
        """Return the model's card.

        Args:
            weights: file with the weights; None for a model that is not written.

        Raises:
            InputError: the model has only one block, or the transform's output does not have the size of the model's input.
        """
        architecture = self.source.architecture
        return loading.describe(
            self.model,
            architecture.name,
            {**architecture.kwargs, **self.wanted.kwargs},
            self.source.text,
            transform=self.source.transform,
            protocol=self.wanted.protocol,
            weights=weights,
            labels=None if self.rows is None else str(self.rows),
            head=self.vectors.facts if self.vectors and not self.wanted.random_vectors else None,
        )


def make(wanted: ModelDescription, hub: Hub, seed: int, weights: Path, card: Path) -> None:
    """Make a model and write it.

    Args:
        wanted: description of the model.
        hub: source of pretrained weights.
        seed: seed of random weights.
        weights: safetensors file to write.
        card: model.json to write.

    Raises:
        InputError: the model, its weights or its class embedding do not fit.
    """
    made = build(wanted, hub, seed)
    loading.save(made.model, weights)
    made.card(weights).write(card)


def build(wanted: ModelDescription, hub: Hub, seed: int) -> NewModel:
    """Return a model after a check that it meets the method's assumptions.

    Args:
        wanted: description of the model.
        hub: source of pretrained weights.
        seed: seed of random weights.

    Raises:
        InputError: the model, its weights or its class embedding do not fit.
    """
    vectors, source = _vectors(wanted), Source.of(wanted, hub)
    head = (lambda model: _give_head(model, vectors, wanted, source.architecture)) if vectors else None
    model = source.build(wanted, seed, head, drops_head=wanted.projection == "drop")
    rows = None if vectors or not source.checkpoint else _arrange(model, wanted, source.architecture, source.checkpoint)
    return NewModel(model, wanted, source, rows, vectors)


def backbone(wanted: ModelDescription, hub: Hub, seed: int) -> NewModel:
    """Return a model whose features a head is fitted to.

    A random head stands in for the fitted one, so that the model passes the same checks.

    Args:
        wanted: description of the model, without a class embedding and with any number of classes.
        hub: source of pretrained weights.
        seed: seed of random weights.

    Raises:
        InputError: the model or its weights do not fit.
    """
    source = Source.of(wanted, hub)

    def stand_in(model: ViT) -> None:
        vectors = Vectors(torch.randn(wanted.num_classes, model.num_features), None)
        class_embedding.attach(model, vectors, Comparison(projection=False), f"of {wanted.arch}")

    return NewModel(source.build(wanted, seed, stand_in, drops_head=True), wanted, source, None, None)


@dataclass(frozen=True)
class Source:
    """What a model is built from.

    Attributes:
        architecture: its architecture.
        transform: image transform of the config or the repository; None for timm's.
        checkpoint: its weights; None for random ones.
        origin: where the weights come from, with the sha256 of their file.
    """

    architecture: Architecture
    transform: dict[str, Any] | None
    checkpoint: Checkpoint | None
    origin: str

    @classmethod
    def of(cls, wanted: ModelDescription, hub: Hub) -> "Source":
        """Find a model's architecture and read its weights.

        Raises:
            InputError: a file is missing, damaged, or another one than `sha256` says, or there is no image transform.
        """
        architecture = hub.architecture(wanted.arch)
        transform = wanted.transform or architecture.transform
        if transform is None and transformers_config.is_transformers(architecture.facts):
            raise InputError(f"{wanted.arch} has no {transformers_config.PREPROCESSOR}: give the model a `transform` in the config")
        if transform is None and wanted.checkpoint and transformers_config.is_described(wanted.checkpoint):
            folder = wanted.checkpoint.parent
            raise InputError(f"{folder} describes the model: set `weights` to this folder and remove `arch`, or set `transform`")
        file = hub.weights(architecture) if wanted.weights == "pretrained" else wanted.checkpoint
        return cls(architecture, transform, *_read(wanted, file))

    def build(self, wanted: ModelDescription, seed: int, head: Callable[[ViT], None] | None, *, drops_head: bool) -> ViT:
        """Return the model (`loading.make_model`)."""
        return loading.make_model(
            self.architecture,
            wanted.weights,
            wanted.kwargs,
            wanted.num_classes,
            seed,
            checkpoint=self.checkpoint,
            key_prefix=wanted.key_prefix,
            ignore_keys=list(wanted.ignore_keys),
            head=head,
            drops_head=drops_head,
        )

    @property
    def text(self) -> str:
        """Source of the weights and what was changed in them, for model.json."""
        return "; ".join([self.origin, *(self.checkpoint.notes if self.checkpoint else ())])


def _read(wanted: ModelDescription, file: Path | None) -> tuple[Checkpoint | None, str]:
    """Check the sha256 of a file, and return its weights (None without a file) and their source for model.json."""
    name = wanted.checkpoint.name if wanted.checkpoint else wanted.weights
    if file is None:
        return None, name
    digest = check_sha256(file, wanted.sha256)
    checkpoint = checkpoints.read(file)
    nest = f", `{checkpoint.nest}`" if checkpoint.nest else ""
    return checkpoint, f"{name}{nest}, sha256 {digest}"


def _vectors(wanted: ModelDescription) -> Vectors | None:
    """Return the class vectors in the file that the config names; None without a file."""
    if wanted.class_embedding is None:
        return None
    assert wanted.class_list
    return class_embedding.read(wanted.class_embedding, classes_of(parquet.read_table(wanted.class_list)))


def _give_head(model: ViT, vectors: Vectors, wanted: ModelDescription, architecture: Architecture) -> None:
    """Replace a model's head by class vectors, or by random ones of their shape."""
    vectors = vectors.random() if wanted.random_vectors else vectors
    known = None if wanted.weights == "checkpoint" else class_embedding.is_projection(architecture.name, architecture.facts)
    keep = None if wanted.projection is None else wanted.projection == "keep"
    cosine = (wanted.normalization or vectors.normalization) == "cosine"
    comparison = Comparison(cosine, wanted.temperature or vectors.temperature, keep, known)
    class_embedding.attach(model, vectors, comparison, str(wanted.class_embedding))


def _arrange(model: ViT, wanted: ModelDescription, architecture: Architecture, checkpoint: Checkpoint) -> RowOrder | None:
    """Put the rows of a model's own head in the data set's class order, and return their order if labels name the classes."""
    assert wanted.class_list
    listed = parquet.read_table(wanted.class_list)
    found = labels.of_model(architecture, checkpoint, wanted.weights == "pretrained")
    return labels.reorder_head(model, found, classes_of(listed), order_of(listed), wanted.arch)
