"""Class embeddings that are not a model's own head: text embeddings for zero-shot classification, class prototypes, a separate linear head.

The file is safetensors with a matrix `weight` [class, width], optionally a `bias` [class], and in its metadata `classes`, a JSON list that
names the rows by the data set's class ids or names. The width is that of the model, whose head it replaces, or that of the head's output,
which it then follows (the image projection of CLIP). Where both are the same, the head is kept if it is known to be a projection.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from timm.data import infer_imagenet_subset
from torch import Tensor, nn
from torch.nn import functional

from classlens.errors import InputError, first_line
from classlens.lens import ClassHead
from classlens.trace import ViT


class ClassEmbedding(ClassHead):
    """A head that compares hidden states with given vectors: their product, or their cosine, over a temperature.

    Args:
        vectors: a vector for each class, [class, width].
        bias: added to the logits, [class]; None for none.
        projection: maps hidden states to the vectors' space; None where they are in it.
        cosine: whether both sides are brought to unit length.
        temperature: what the products are divided by.
    """

    def __init__(self, vectors: Tensor, bias: Tensor | None, projection: nn.Linear | None, cosine: bool, temperature: float):
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.projection = projection
        self.cosine, self.temperature = cosine, temperature
        self.out_features = len(vectors)

    @property
    def weight(self) -> Tensor:
        """The classes' directions in the space of the hidden states, [class, width], up to the length of the state and the temperature."""
        vectors = functional.normalize(self.vectors, dim=1) if self.cosine else self.vectors
        return vectors if self.projection is None else vectors @ self.projection.weight

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., class] of hidden states [..., width]."""
        states = states if self.projection is None else self.projection(states)
        if self.cosine:
            logits = functional.linear(functional.normalize(states, dim=-1), functional.normalize(self.vectors, dim=-1))
        else:
            logits = functional.linear(states, self.vectors)
        logits = logits / self.temperature
        return logits if self.bias is None else logits + self.bias


@dataclass(frozen=True)
class Vectors:
    """The contents of a class embedding file, in the order of a data set's classes: vectors [class, width] and bias [class] or None."""

    vectors: Tensor
    bias: Tensor | None

    def random(self) -> "Vectors":
        """Random vectors of the same shape, for a random twin; without a bias."""
        return Vectors(torch.randn_like(self.vectors), None)


def read(path: Path, classes: list[tuple[str, str]]) -> Vectors:
    """The vectors of a data set's classes.

    Args:
        path: the file.
        classes: (id, name) of each class of the data set.

    Raises:
        InputError: the file is damaged, has no matrix, or no row, or several, for a class.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # the reader raises what a damaged header makes its parts raise
        raise InputError(f"class embedding {path} cannot be read ({first_line(error)}): give a .safetensors file") from None
    if "weight" not in tensors or tensors["weight"].dim() != 2:
        raise InputError(f"class embedding {path} has no matrix `weight` [class, width]")
    if other := next((name for name in ("weight", "bias") if name in tensors and not _is_float(tensors[name])), None):
        raise InputError(f"class embedding {path}: `{other}` is {str(tensors[other].dtype).removeprefix('torch.')}: save it as floats")
    tensors = {name: tensor.float() for name, tensor in tensors.items() if name in ("weight", "bias")}
    rows = _rows(path, metadata, len(tensors["weight"]), classes)
    bias = tensors.get("bias")
    if bias is not None and bias.shape != tensors["weight"].shape[:1]:
        raise InputError(
            f"class embedding {path} has a `bias` of shape {list(bias.shape)}, not [{len(tensors['weight'])}], one of each row"
        )
    vectors = Vectors(tensors["weight"][rows], None if bias is None else bias[rows])
    _check_values(path, vectors, classes)
    return vectors


def _check_values(path: Path, vectors: Vectors, classes: list[tuple[str, str]]) -> None:
    """Raise an InputError for a class whose vector or bias is not finite, or whose vector is zero and so has no direction."""
    finite = vectors.vectors.isfinite().all(dim=1)
    finite &= torch.ones_like(finite) if vectors.bias is None else vectors.bias.isfinite()
    for good, problem in ((finite, "is not finite"), (vectors.vectors.any(dim=1), "is zero")):
        if not good.all():
            class_id, name = classes[int(good.int().argmin())]
            raise InputError(f"class embedding {path}: the row of the class {class_id} ({name}) {problem}: make the file again")


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > 1  # eight bits come with a scale that is not here


def _rows(path: Path, metadata: dict[str, str], count: int, classes: list[tuple[str, str]]) -> list[int]:
    """The row of each class."""
    try:
        names = json.loads(metadata["classes"])
    except (KeyError, ValueError, RecursionError):
        raise InputError(f"class embedding {path} does not name its rows: put a JSON list into its metadata, under `classes`") from None
    if not isinstance(names, list) or len(names) != count:
        raise InputError(f"class embedding {path} has {count} rows, and its metadata does not name as many `classes`")
    rows = []
    for class_id, name in classes:
        found = [row for row, given in enumerate(names) if given == class_id] or [row for row, given in enumerate(names) if given == name]
        if len(found) != 1:
            raise InputError(f"class embedding {path} has {len(found) or 'no'} rows for the class {class_id} ({name}): it must have one")
        rows.append(found[0])
    return rows


@dataclass(frozen=True)
class Comparison:
    """How a class embedding's vectors are compared with hidden states.

    Attributes:
        cosine: whether states and vectors are compared by their angle.
        temperature: what the products are divided by.
        projection: whether the model's head stays before the vectors; None: their width decides.
        head_projects: whether the model's head is known to be a projection (`is_projection`), for vectors whose width does not decide.
    """

    cosine: bool = False
    temperature: float = 1.0
    projection: bool | None = None
    head_projects: bool | None = None


def attach(model: ViT, vectors: Vectors, comparison: Comparison, name: str) -> None:
    """Give a model a class embedding for its head.

    Args:
        model: a timm model, changed in place.
        vectors: the classes' vectors.
        comparison: how they are compared with hidden states.
        name: what to call the embedding in errors.

    Raises:
        InputError: the vectors have another width than the model and its head's output, it is not known which of the two they belong to, or
            the model has two heads.
    """
    if getattr(model, "head_dist", None) is not None:
        raise InputError(f"class embedding {name}: a distilled model has two heads, and cannot take one class embedding")
    projection = _projection(model, vectors.vectors.shape[1], comparison, name)
    model.head = ClassEmbedding(vectors.vectors, vectors.bias, projection, comparison.cosine, comparison.temperature)


def _projection(model: ViT, width: int, comparison: Comparison, name: str) -> nn.Linear | None:
    """The model's own head, where it stays before vectors of a width; None where they replace it."""
    own = model.head if isinstance(model.head, nn.Linear) else None
    behind, before = own is not None and own.out_features == width, model.num_features == width
    keep = comparison.projection
    if keep is None:
        keep = comparison.head_projects if behind and before else behind
    if keep is None:
        raise InputError(
            f"class embedding {name} has vectors of width {width}, as the model has before and behind its head: set `projection` of the "
            "model's `class_embedding` to keep (the head is a projection, as CLIP's) or drop (it is a classifier)"
        )
    if behind if keep else before:
        return own if keep else None
    widths = f"{model.num_features}" + (f" (or its head's {own.out_features})" if own is not None else "")
    kept = "" if comparison.projection is None else f", with `projection: {'keep' if keep else 'drop'}`"
    raise InputError(f"class embedding {name} has vectors of width {width}, and the model has {widths}{kept}")


def is_projection(arch: str, facts: dict[str, Any]) -> bool | None:
    """Return whether the head of an architecture's own weights is known to be a projection, as CLIP's; None where it is not known.

    Args:
        arch: full name of the architecture.
        facts: what timm says of the weights: the number of the head's outputs, which for a classifier is that of a set of ImageNet classes.
    """
    if not facts.get("num_classes"):
        return None
    if infer_imagenet_subset(facts):
        return False
    return True if "clip" in arch else None


def described(model: ViT) -> dict[str, Any] | None:
    """What model.json must say for `restored`; None for a model with a head of its own."""
    head = model.head
    if not isinstance(head, ClassEmbedding):
        return None
    settings = {"cosine": head.cosine, "temperature": head.temperature, "projection": head.projection is not None}
    return {"width": head.vectors.shape[1], "bias": head.bias is not None, **settings}


def restored(model: ViT, classes: int, settings: dict[str, Any]) -> None:
    """Give a model an empty class embedding as `described`, to be filled from its weights."""
    bias = torch.zeros(classes) if settings["bias"] else None
    comparison = Comparison(**{key: settings[key] for key in ("cosine", "temperature", "projection")})
    attach(model, Vectors(torch.zeros(classes, settings["width"]), bias), comparison, "of model.json")
