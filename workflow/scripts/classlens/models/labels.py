"""Class names that come with a model's weights, and the order of the head's rows that follows from them.

A checkpoint or a hub repository often names the rows of its head. These names determine which class a row stands for; the order of a data
set's folders does not. `arrange` therefore puts the rows in the data set's class order by name. If nothing names the rows, and the folders
can be sorted in more than one way, the model is refused, because a wrong order would make every number wrong.
"""

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import nn

from classlens.data.layouts import imagenet_id
from classlens.data.manifest_classes import ClassOrder
from classlens.errors import InputError, printable
from classlens.models.checkpoints import Checkpoint
from classlens.models.hub import Architecture, json_of
from classlens.progress import log
from classlens.trace import ViT

ROWS = ("label_names", "class_names", "classes", "labels")
"""Keys under which training programs list the class names in the order of the head's rows."""
BY_NAME = ("class_to_idx", "class_to_index", "label2id")
"""Keys of mappings from a class to its row."""
BY_ROW = ("id2label", "idx_to_class", "index_to_class")
"""Keys of mappings from a row to its class."""
PLACES = ("args", "cfg", "config", "data", "datamodule_hyper_parameters", "dataset", "hparams", "hyper_parameters", "meta", "metadata",
          "model_args", "model_kwargs", "pretrained_cfg")  # fmt: skip
"""Keys of nested settings that may hold the keys above."""
PLACEHOLDER = re.compile(r"((label|class) )?\d+")
"""A normalised label that only gives the number of its row."""

Class = tuple[str, str]
"""Id and name of a class in a data set."""


@dataclass(frozen=True)
class Labels:
    """Class names of the rows of a model's head, from one source.

    Attributes:
        where: name of the source in messages.
        rows: texts of each row: a name, or a name and its description.
    """

    where: str
    rows: list[list[str]]


def of_model(architecture: Architecture, checkpoint: Checkpoint, pretrained: bool) -> list[Labels]:
    """Return every list of labels that comes with a model's weights.

    Args:
        architecture: the architecture, with timm's or the repository's description of its own weights.
        checkpoint: the weights.
        pretrained: whether these are the architecture's own weights, so that the description applies to them.
    """
    config = checkpoint.path.with_name("config.json")
    sources = [(checkpoint.path.name, checkpoint.facts), (f"{config.name} beside the checkpoint", json_of(config))]
    sources += [(f"arch {architecture.name}", architecture.facts)] if pretrained else []
    found = [labels for where, facts in sources for labels in _search(facts, where)]
    return found or (_of_imagenet(architecture) if pretrained else [])


def settings_in(facts: Any, depth: int = 3) -> Iterator[dict[Any, Any]]:
    """Yield the facts that a checkpoint or config holds, and the settings that are nested in them under one of `PLACES`."""
    facts = vars(facts) if isinstance(facts, argparse.Namespace) else facts
    if not isinstance(facts, dict):
        return
    yield facts
    for key in PLACES if depth else ():
        yield from settings_in(facts.get(key), depth - 1)


def _search(facts: Any, where: str) -> Iterator[Labels]:
    """Yield the labels in settings and in nested settings."""
    for settings in settings_in(facts):
        for keys, listed in ((ROWS, _listed), (BY_NAME, _inverted), (BY_ROW, _indexed)):
            for key in keys:
                if rows := listed(settings.get(key)):
                    yield Labels(f"`{key}` of {where}", _described(rows, settings.get("label_descriptions")))


def _listed(value: Any) -> list[str] | None:
    """Return a list of names, or None for anything else, such as a number of classes."""
    names = [str(name) for name in value] if isinstance(value, list | tuple) else []
    plain = all(isinstance(name, str | int) and not isinstance(name, bool) for name in value) if names else False
    return names if plain else None


def _inverted(value: Any) -> list[str] | None:
    """Return names in the order of their rows, from a mapping of names to rows."""
    return _indexed({row: name for name, row in value.items()}) if isinstance(value, dict) and _hashable(value) else None


def _hashable(value: dict[Any, Any]) -> bool:
    return all(isinstance(row, str | int) for row in value.values())


def _indexed(value: Any) -> list[str] | None:
    """Return names in the order of their rows, from a mapping of rows to names; None if the rows are not 0, 1, 2..."""
    if isinstance(value, list | tuple):
        return _listed(value)
    if not isinstance(value, dict):
        return None
    with suppress(ValueError, TypeError, OverflowError):
        by_row = {int(row): name for row, name in value.items()}
        if sorted(by_row) == list(range(len(value))):
            return _listed([by_row[row] for row in range(len(value))])
    return None


def _described(names: list[str], descriptions: Any) -> list[list[str]]:
    """Return each name, with its description if it has one."""
    if isinstance(descriptions, list | tuple) and len(descriptions) == len(names):
        descriptions = dict(zip(names, descriptions, strict=True))
    if not isinstance(descriptions, dict):
        return [[name] for name in names]
    return [[name, *([descriptions[name]] if isinstance(descriptions.get(name), str) else [])] for name in names]


def _of_imagenet(architecture: Architecture) -> list[Labels]:
    """Return the labels of timm's own ImageNet models, which timm knows even if their repositories do not list them."""
    ours = (architecture.repository or "").startswith("timm/")
    subset = infer_imagenet_subset(architecture.facts) if ours else None
    if subset is None:
        return []
    info = ImageNetInfo(subset)
    return [Labels(f"{subset} in timm", [[name, info.label_name_to_description(name)] for name in info.label_names()])]


@dataclass(frozen=True)
class RowOrder:
    """The rows of a head, in the data set's class order, as labels name them.

    Attributes:
        labels: labels that name every class.
        rows: row of each class in the checkpoint, [class].
    """

    labels: Labels
    rows: list[int]

    def __str__(self) -> str:
        """Return how the order is known, for model.json."""
        in_order = self.rows == list(range(len(self.rows)))
        return f"{'in' if in_order else 'put in'} the data set's order, by {self.labels.where}"


def reorder_head(model: ViT, found: list[Labels], classes: list[Class], order: ClassOrder, name: str) -> RowOrder | None:
    """Put the rows of a model's heads in the data set's class order.

    Args:
        model: a model with as many classes as the data set, changed in place.
        found: labels of its rows (`of_model`).
        classes: (id, name) of each class of the data set.
        order: how the data set's class order was determined.
        name: name of the model in errors.

    Returns:
        The order of the rows; None if no labels name the classes, so that only the data set's class order says it.

    Raises:
        InputError: labels contradict each other or name only some of the classes, or nothing determines the order.
    """
    matched = [(labels, rows) for labels in found if (rows := _rows_of(labels, classes, order, name)) is not None]
    if not matched:
        _check_settled(classes, order, name)
        return None
    labels, rows = matched[0]
    for other, others in matched[1:]:
        if others != rows:
            row = next(index for index, (one, two) in enumerate(zip(rows, others, strict=True)) if one != two)
            raise InputError(
                f"model {name}: {labels.where} and {other.where} name different rows for the class {printable(classes[row][0])}: remove "
                "the wrong one"
            )
    known = RowOrder(labels, rows)
    _permute(model, rows)
    log.info("rows of the head: %s", known)
    return known


def _rows_of(labels: Labels, classes: list[Class], order: ClassOrder, name: str) -> list[int] | None:
    """Return the row of each class, or None if the labels do not name the data set's classes."""
    if len(labels.rows) != len(classes):
        log.warning("%s names %d classes, but the data set has %d: these names are not used", labels.where, len(labels.rows), len(classes))
        return None
    rows = matches(labels.rows, classes)
    known = [row for row in rows if row is not None]
    if len(known) == len(rows):
        return known
    if not known and all(PLACEHOLDER.fullmatch(normal(texts[0])) for texts in labels.rows):
        return None
    if order.basis != "natural" and all(row in (None, index) for index, row in enumerate(rows)):
        log.warning("%s names only %d of the data set's %d classes: using the data set's order", labels.where, len(known), len(rows))
        return None
    unnamed = [class_id for (class_id, _), row in zip(classes, rows, strict=True) if row is None]
    shown = ", ".join(map(printable, unnamed[:5])) + (", ..." if len(unnamed) > 5 else "")
    theirs = ", ".join(printable(texts[0]) for texts in labels.rows[:5]) + (", ..." if len(labels.rows) > 5 else "")
    raise InputError(
        f"model {name}: {labels.where} ({theirs}) names no row for {len(unnamed)} of the data set's {len(rows)} classes ({shown}): "
        "rename the class folders, or set the data set's `classes` to a file that lists them in the model's order"
    )


def _check_settled(classes: list[Class], order: ClassOrder, name: str) -> None:
    if order.basis == "natural" and order.differs:
        index, natural, text = order.differs
        raise InputError(
            f"model {name} does not name its classes, and folders can be sorted in two ways: class {index} is {printable(natural)} for "
            f"timm and {printable(text)} for torchvision: set the data set's `class_order` to the one that the model was trained with, or "
            "`classes` to a file with the model's order"
        )
    log.info("the weights do not name their %d classes: using the data set's order", len(classes))


def matches(rows: list[list[str]], classes: list[Class]) -> list[int | None]:
    """Return the row of each class, or None for a class without exactly one matching row.

    Comparisons are tried in this order: exact id, ImageNet id at the start of a text, exact id or name, texts without regard to case,
    underscores, hyphens and the encoding of accents, and single synonyms in texts with commas.
    """
    found: list[int | None] = [None] * len(classes)
    for theirs, ours in _KEYS:
        where: dict[str, set[int]] = {}
        for row, texts in enumerate(rows):
            for key in theirs(texts):
                where.setdefault(key, set()).add(row)
        for index, (class_id, name) in enumerate(classes):
            candidates = set().union(*(where.get(key, set()) for key in ours([class_id, name])))
            if found[index] is None and len(candidates) == 1:
                found[index] = candidates.pop()
    taken = Counter(found)
    return [row if taken[row] == 1 else None for row in found]


def normal(text: str) -> str:
    """Return a text in the form that comparisons of names use: NFC, lower case, and single spaces for underscores, hyphens and spaces."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", text).casefold()).strip()


def _exact(texts: list[str]) -> set[str]:
    return set(texts)


def _synsets(texts: list[str]) -> set[str]:
    return {found for text in texts if (found := imagenet_id(text))}


def _normal(texts: list[str]) -> set[str]:
    return {normal(text) for text in texts}


def _synonyms(texts: list[str]) -> set[str]:
    return {normal(part) for text in texts for part in text.split(",")} - {""}


Keys = Callable[[list[str]], set[str]]
_KEYS: tuple[tuple[Keys, Keys], ...] = (
    (_exact, lambda ours: {ours[0]}),
    (_synsets, _synsets),
    (_exact, _exact),
    (_normal, _normal),
    (_synonyms, _synonyms),
)
"""Functions that return the keys of a label and of a class; both match if they share a key. The most reliable come first."""


def _permute(model: ViT, rows: list[int]) -> None:
    for head in filter(None, (model.head, getattr(model, "head_dist", None))):
        _permute_rows(head, rows)


def _permute_rows(head: nn.Linear, rows: list[int]) -> None:
    head.weight.data = head.weight.data[rows]
    if head.bias is not None:
        head.bias.data = head.bias.data[rows]
