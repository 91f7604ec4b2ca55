"""Class embeddings other than a model's own head: text embeddings for zero-shot classification, class prototypes, a separate linear head.

The file is a safetensors file with a matrix `weight` [class, width] and optionally a `bias` [class]. Its metadata has an entry `classes`, a
JSON list that names the rows by the data set's class ids or names. The width of the rows decides what happens to the model's head. If it is
the width of the model, the class embedding replaces the head. If it is the width of the head's output, the class embedding follows the
head, as in CLIP, whose head is the image projection. If both widths are the same, the head stays if it is known to be a projection.
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
    """A head that compares hidden states with class vectors: by their dot product or cosine, divided by a temperature.

    Args:
        vectors: one vector per class, [class, width].
        bias: added to the logits, [class], or None.
        projection: linear map from hidden states to the space of the vectors, or None if both share one space.
        cosine: whether to normalise states and vectors to unit length.
        temperature: divisor of the products.
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
        """The classes' directions in the space of hidden states, [class, width]; excludes the state's norm and the temperature."""
        vectors = functional.normalize(self.vectors, dim=1) if self.cosine else self.vectors
        return vectors if self.projection is None else vectors @ self.projection.weight

    def forward(self, states: Tensor) -> Tensor:
        """Return the logits [..., class] of hidden states [..., width]."""
        states = states if self.projection is None else self.projection(states)
        if self.cosine:
            logits = functional.linear(functional.normalize(states, dim=-1), functional.normalize(self.vectors, dim=-1))
        else:
            logits = functional.linear(states, self.vectors)
        logits = logits / self.temperature
        return logits if self.bias is None else logits + self.bias


@dataclass(frozen=True)
class Vectors:
    """The contents of a class embedding file in the data set's class order: vectors [class, width], and bias [class] or None."""

    vectors: Tensor
    bias: Tensor | None

    def random(self) -> "Vectors":
        """Return random vectors of the same shape, without a bias, for a random twin."""
        return Vectors(torch.randn_like(self.vectors), None)


def read(path: Path, classes: list[tuple[str, str]]) -> Vectors:
    """Read the class vectors from a file and return them in the data set's class order.

    Args:
        path: class embedding file.
        classes: (id, name) of each class of the data set.

    Raises:
        InputError: the file is damaged, has no matrix, or does not have exactly one valid row for each class.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # safetensors raises many types of errors for a damaged header
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
            f"class embedding {path} has a `bias` of shape {list(bias.shape)}, not [{len(tensors['weight'])}]: save one value for each row"
        )
    vectors = Vectors(tensors["weight"][rows], None if bias is None else bias[rows])
    _check_values(path, vectors, classes)
    return vectors


def _check_values(path: Path, vectors: Vectors, classes: list[tuple[str, str]]) -> None:
    """Raise an InputError if the vector or bias of a class is not finite, or if a vector is zero and so has no direction."""
    finite = vectors.vectors.isfinite().all(dim=1)
    finite &= torch.ones_like(finite) if vectors.bias is None else vectors.bias.isfinite()
    for good, problem in ((finite, "is not finite"), (vectors.vectors.any(dim=1), "is zero")):
        if not good.all():
            class_id, name = classes[int(good.int().argmin())]
            raise InputError(f"class embedding {path}: the row of the class {class_id} ({name}) {problem}: create the file again")


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > 1  # 8-bit floats need a scale, which the file does not hold


def _rows(path: Path, metadata: dict[str, str], count: int, classes: list[tuple[str, str]]) -> list[int]:
    """Return the row of each class."""
    try:
        names = json.loads(metadata["classes"])
    except (KeyError, ValueError, RecursionError):
        raise InputError(f"class embedding {path} does not name its rows: add a JSON list `classes` to its metadata") from None
    if not isinstance(names, list) or len(names) != count:
        raise InputError(f"class embedding {path} has {count} rows, but its metadata `classes` does not list {count} names")
    rows = []
    for class_id, name in classes:
        found = [row for row, given in enumerate(names) if given == class_id] or [row for row, given in enumerate(names) if given == name]
        if len(found) != 1:
            raise InputError(f"class embedding {path} has {len(found) or 'no'} rows for the class {class_id} ({name}): give it exactly one")
        rows.append(found[0])
    return rows


@dataclass(frozen=True)
class Comparison:
    """How the vectors of a class embedding are compared with hidden states.

    Attributes:
        cosine: whether to compare by cosine instead of by dot product.
        temperature: divisor of the products.
        projection: whether the model's head stays before the vectors; None lets the width of the vectors decide.
        head_projects: whether the model's head is known to be a projection (`is_projection`); decides if the width does not.
    """

    cosine: bool = False
    temperature: float = 1.0
    projection: bool | None = None
    head_projects: bool | None = None


def attach(model: ViT, vectors: Vectors, comparison: Comparison, name: str) -> None:
    """Replace a model's head by a class embedding.

    Args:
        model: a timm model, changed in place.
        vectors: the vectors of the classes.
        comparison: how to compare the vectors with hidden states.
        name: name of the embedding in errors.

    Raises:
        InputError: the vectors fit neither the model's width nor its head's output, they fit both and nothing decides between the two, or
            the model has two heads.
    """
    if getattr(model, "head_dist", None) is not None:
        raise InputError(f"class embedding {name}: a distilled model has two heads, and the embedding replaces one: use another model")
    projection = _projection(model, vectors.vectors.shape[1], comparison, name)
    model.head = ClassEmbedding(vectors.vectors, vectors.bias, projection, comparison.cosine, comparison.temperature)


def _projection(model: ViT, width: int, comparison: Comparison, name: str) -> nn.Linear | None:
    """Return the model's own head if it stays before vectors of this width, or None if the vectors replace it."""
    own = model.head if isinstance(model.head, nn.Linear) else None
    fits_output, fits_model = own is not None and own.out_features == width, model.num_features == width
    keep = comparison.projection
    if keep is None:
        keep = comparison.head_projects if fits_output and fits_model else fits_output
    if keep is None:
        raise InputError(
            f"class embedding {name} has vectors of width {width}, which fit before and after the model's head: set `projection` of the "
            "model's `class_embedding` to keep (the head is a projection, as in CLIP) or drop (it is a classifier)"
        )
    if fits_output if keep else fits_model:
        return own if keep else None
    asked = comparison.projection
    if asked and own is None:
        raise InputError(f"class embedding {name}: with `projection: keep`, the model needs a head: set `projection: drop`")
    after = f"{own.out_features} after its head" if own is not None else ""
    either = f"{model.num_features} (or {after})" if after else f"{model.num_features}"
    needed = {None: either, True: after, False: f"{model.num_features} before its head"}[asked]
    raise InputError(f"class embedding {name} has vectors of width {width}, but the model needs {needed}")


def is_projection(arch: str, facts: dict[str, Any]) -> bool | None:
    """Return whether the head of an architecture's own weights is a projection, as in CLIP, or None if unknown.

    Args:
        arch: full name of the architecture.
        facts: timm's description of the weights. Its `num_classes` is the number of the head's outputs; a classifier has as many outputs as
            one of the sets of ImageNet classes.
    """
    if not facts.get("num_classes"):
        return None
    if infer_imagenet_subset(facts):
        return False
    return True if "clip" in arch else None


def settings_of(model: ViT) -> dict[str, Any] | None:
    """Return the settings that `attach_empty` needs from model.json, or None for a model with its own head."""
    head = model.head
    if not isinstance(head, ClassEmbedding):
        return None
    settings = {"cosine": head.cosine, "temperature": head.temperature, "projection": head.projection is not None}
    return {"width": head.vectors.shape[1], "bias": head.bias is not None, **settings}


def attach_empty(model: ViT, classes: int, settings: dict[str, Any]) -> None:
    """Give a model an empty class embedding with the settings from `described`; the caller loads its weights."""
    bias = torch.zeros(classes) if settings["bias"] else None
    comparison = Comparison(**{key: settings[key] for key in ("cosine", "temperature", "projection")})
    attach(model, Vectors(torch.zeros(classes, settings["width"]), bias), comparison, "of model.json")
