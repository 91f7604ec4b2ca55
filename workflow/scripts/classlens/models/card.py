"""The card of a model, model.json: facts about the model for programs that do not load it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from classlens.storage import parquet
from classlens.storage.atomic_write import atomic_write
from classlens.storage.provenance import sha256_of


@dataclass(frozen=True)
class Card:
    """The facts about a model in model.json.

    Attributes:
        arch: name of the model in timm.
        kwargs: arguments of `timm.create_model` that build it.
        classes: number of classes.
        depth: number of blocks.
        width: width of the residual stream.
        heads: attention heads per block.
        grid: rows and columns of image tokens.
        prefix_tokens: number of prefix tokens.
        cls_token: whether the first prefix token is [CLS].
        pooling: `token`, or `mean` of the image tokens.
        transform: image transform (`transforms`).
        source: source of the weights, with the sha256 of their file if there is one.
        sha256: sha256 of model.safetensors.
        class_embedding: settings for `class_embedding.attach_empty`; None for a model with its own head.
        labels: how the class of each row of the head is known; None if only the data set's class order says so.
    """

    arch: str
    kwargs: dict[str, Any]
    classes: int
    depth: int
    width: int
    heads: int
    grid: tuple[int, int]
    prefix_tokens: int
    cls_token: bool
    pooling: str
    transform: dict[str, Any]
    source: str
    sha256: str
    class_embedding: dict[str, Any] | None = None
    labels: str | None = None

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a card from model.json.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts.pop("checksum") != _checksum(facts):
                raise ValueError("it does not have the checksum that was written")
            return cls(**facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise parquet.unreadable(path, error) from None

    def write(self, path: Path) -> None:
        """Write the card to model.json."""
        facts = asdict(self)
        with atomic_write(path) as draft:
            draft.write_text(json.dumps({**facts, "checksum": _checksum(facts)}, indent=2) + "\n", encoding="utf-8")

    @property
    def image_tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        return self.prefix_tokens + self.image_tokens

    @property
    def metadata(self) -> dict[str, str]:
        """The facts about the model that readers of a table need, as the table's schema metadata."""
        return {
            "classes": str(self.classes),
            "grid": json.dumps(self.grid),
            "prefix_tokens": str(self.prefix_tokens),
            "cls_token": json.dumps(self.cls_token),
        }


def _checksum(facts: dict[str, Any]) -> str:
    return sha256_of(json.dumps(facts))
