"""Class embeddings that are not a model's own head: text embeddings for zero-shot classification, class prototypes, a separate linear head.

The file is safetensors with a matrix `weight` [class, width], optionally a `bias` [class], and in its metadata `classes`, a JSON list that
names the rows by the data set's class ids or names. The width is that of the model, whose head it replaces, or that of the head's output,
which it then follows (the image projection of CLIP).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from classlens.errors import InputError, first_line
from classlens.trace import ViT


class ClassEmbedding(nn.Module):
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
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"class embedding {path} cannot be read ({first_line(error)}): give a .safetensors file") from None
    if "weight" not in tensors or tensors["weight"].dim() != 2:
        raise InputError(f"class embedding {path} has no matrix `weight` [class, width]")
    rows = _rows(path, metadata, len(tensors["weight"]), classes)
    bias = tensors.get("bias")
    return Vectors(tensors["weight"][rows], None if bias is None else bias[rows])


def _rows(path: Path, metadata: dict[str, str], count: int, classes: list[tuple[str, str]]) -> list[int]:
    """The row of each class."""
    try:
        names = json.loads(metadata["classes"])
    except (KeyError, ValueError):
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


def attach(model: ViT, vectors: Vectors, cosine: bool, temperature: float, name: str) -> None:
    """Give a model a class embedding for its head.

    Args:
        model: a timm model, changed in place.
        vectors: the classes' vectors.
        cosine: whether states and vectors are compared by their angle.
        temperature: what the products are divided by.
        name: what to call the embedding in errors.

    Raises:
        InputError: the vectors have another width than the model and its head's output, or the model has two heads.
    """
    if getattr(model, "head_dist", None) is not None:
        raise InputError(f"class embedding {name}: a distilled model has two heads, and cannot take one class embedding")
    model.head = ClassEmbedding(vectors.vectors, vectors.bias, _projection(model, vectors.vectors.shape[1], name), cosine, temperature)


def _projection(model: ViT, width: int, name: str) -> nn.Linear | None:
    own = model.head if isinstance(model.head, nn.Linear) else None
    if width == model.num_features:
        return None
    if own is not None and own.out_features == width:
        return own
    widths = f"{model.num_features}" + (f" (or its head's {own.out_features})" if own is not None else "")
    raise InputError(f"class embedding {name} has vectors of width {width}, and the model has {widths}")


def described(model: ViT) -> dict[str, Any] | None:
    """What model.json must say for `restored`; None for a model with a head of its own."""
    head = model.head
    if not isinstance(head, ClassEmbedding):
        return None
    return {"width": head.vectors.shape[1], "bias": head.bias is not None, "cosine": head.cosine, "temperature": head.temperature}


def restored(model: ViT, classes: int, settings: dict[str, Any]) -> None:
    """Give a model an empty class embedding as `described`, to be filled from its weights."""
    bias = torch.zeros(classes) if settings["bias"] else None
    attach(model, Vectors(torch.zeros(classes, settings["width"]), bias), settings["cosine"], settings["temperature"], "of model.json")
