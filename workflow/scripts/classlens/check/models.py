"""The models of a run in words: architecture, transform, weights, classes of the head, and a quick accuracy."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from classlens.check import accuracy, datasets
from classlens.check.accuracy import Accuracy
from classlens.check.text import INDENT, entry, table
from classlens.compute.device import Compute
from classlens.config.plan import Model, Plan
from classlens.config.planned_dataset import PlannedDataset
from classlens.data import manifest
from classlens.data.transforms import Transform
from classlens.models import new_model
from classlens.models.card import Card
from classlens.models.hub import Hub
from classlens.models.new_model import ModelDescription, NewModel
from classlens.progress import log
from classlens.report import run_facts
from classlens.storage import parquet

CLASSES = 10
"""Number of classes that are listed."""


class _Warnings(logging.Handler):
    """A handler that keeps the texts of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def warnings() -> Iterator[list[str]]:
    """Collect the warnings that classlens logs, instead of showing them."""
    handler, propagates = _Warnings(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield handler.texts
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


@dataclass(frozen=True)
class Checked:
    """A model of a run, built as the run builds it.

    Attributes:
        planned: its plan.
        built: the model.
        card: its card.
        classes: (id, name) of each class of its data set, or None if nothing needs them before the run.
    """

    planned: Model
    built: NewModel
    card: Card
    classes: list[tuple[str, str]] | None


def build(plan: Plan, name: str) -> Checked:
    """Build a model as the run will, or with random weights if the run trains it.

    Raises:
        InputError: the model, its weights, its class embedding or its classes do not fit.
    """
    planned = plan.models[name]
    dataset = plan.datasets[planned.dataset]
    if planned.weights == "trained":
        settings = {**plan.training_step(name).model_dump(), "weights": "random"}
    elif plan.makes_class_embedding(name):
        settings = {**plan.features_step(name).model_dump(), "num_classes": dataset.num_classes}
    else:
        settings = plan.model_step(name).model_dump()
    files = {what: Path(path) if path else None for what, path in plan.files_of_model(name).items() if planned.weights != "trained"}
    make = new_model.backbone if plan.makes_class_embedding(name) else new_model.build
    hub = Hub(Path(plan.config.hub.cache) if plan.config.hub.cache else None, plan.config.hub.offline)
    with TemporaryDirectory() as folder:
        classes = None
        if planned.needs_classes:
            listed = manifest.class_list(datasets.layout(dataset), dataset.eval_split)
            files["class_list"] = file = Path(folder) / "classes.parquet"
            parquet.write_table(file, listed, {"protocol": plan.config.protocol})
            classes = list(zip(listed["class_id"].to_pylist(), listed["class_name"].to_pylist(), strict=True))
        built = make(ModelDescription.of(settings, files), hub, planned.seed)
    return Checked(planned, built, built.card(), classes)


def quick_accuracy(plan: Plan, checked: Checked, compute: Compute) -> Accuracy:
    """Return a model's answers to a few images of its analysed split.

    Raises:
        InputError: an image cannot be read, or its class is not known.
    """
    dataset = plan.datasets[checked.planned.dataset]
    split = dataset.eval_split
    images = accuracy.sample(dataset.layout.images(split, dataset.images_per_class()[split]), plan.config.seed)
    found = manifest.of_images(datasets.layout(dataset), split, images, len(images), compute.workers)
    model, transform = compute.place(checked.built.model), Transform(checked.card.transform)
    return accuracy.measure(model, transform, found, Path(dataset.root), compute=compute, seed=plan.config.seed)


def lines(plan: Plan, name: str, compute: Compute) -> Iterator[str]:
    """Yield what a run uses of a model, and its accuracy on a few images.

    Raises:
        InputError: the model or its images cannot be used.
    """
    dataset = plan.datasets[plan.models[name].dataset]
    if plan.models[name].needs_classes and not datasets.has_images(dataset):
        yield entry("weights", "checked when the run has made the images of its data set")
        return
    with warnings() as texts:
        checked = build(plan, name)
        yield from _facts(checked)
        yield from _classes(checked)
        if reason := _no_accuracy(checked.planned, dataset):
            last = run_facts.accuracy(Path(plan.results), name)
            yield entry("accuracy", f"{last} in the last run" if last else reason)
        else:
            measured = quick_accuracy(plan, checked, compute)
            yield entry("accuracy", f"right at {measured.text()}")
            texts += measured.warnings(named=checked.built.rows is not None or checked.built.wanted.class_embedding is not None)
    twins = len(checked.planned.twins)
    yield entry("random twins", str(twins) if twins else "none")
    for text in texts:
        yield entry("warning", text)


def _facts(checked: Checked) -> Iterator[str]:
    card, model = checked.card, checked.built.model
    height, width = model.patch_embed.img_size
    parameters = sum(value.numel() for value in model.parameters())
    size = f"{parameters / 1e6:.3g} million parameters, {card.depth} blocks of width {card.width} with {card.heads} heads"
    yield entry("architecture", f"{card.arch}{', with other sizes' if checked.planned.settings.kwargs else ''}: {size}")
    prefix = f"{card.prefix_tokens} further tokens" if card.prefix_tokens - card.cls_token else ""
    tokens = " and ".join(filter(None, (f"{card.grid[0]}×{card.grid[1]} image tokens", "[CLS]" if card.cls_token else "", prefix)))
    read = "the mean of the image tokens" if card.pooling == "mean" else "one token"
    yield entry("images", f"{height}×{width} pixels, {tokens}; the output is read from {read}")
    yield entry("transform", run_facts.transform(card.transform) + ("" if checked.built.wanted.transform else " (the model's default)"))
    source, *notes = re.sub(r"sha256 (\w{12})\w+", r"sha256 \1", card.source).split("; ")
    where = {"trained": "trained by the run on the train split", "random": "random, by the seed"}
    yield entry("weights", where.get(checked.planned.weights, source))
    for note in notes:
        yield entry("", note)


def _classes(checked: Checked) -> Iterator[str]:
    """Yield how the rows of the head and the classes of the data set belong together, with the first of them."""
    rows, replaced = checked.built.rows, checked.built.wanted.class_embedding
    if embedding := _made_head(checked.planned):
        known = embedding
    elif replaced:
        known = f"{replaced.name} replaces the head; its names of the rows match"
    elif rows:
        known = f"rows of the head {rows}"
    elif checked.classes:
        known = "nothing names the rows of the head: its classes are taken to be in the data set's order"
    else:
        known = "in the data set's order"
    yield entry("classes", f"{checked.card.classes}; {known}")
    if checked.classes is None:
        return
    heading = ("index", "class", "name", "row", "label of the row") if rows else ("index", "class", "name")
    listed: list[tuple[object, ...]] = [heading]
    for index, (class_id, name) in enumerate(checked.classes[:CLASSES]):
        label = (rows.rows[index], ", ".join(rows.labels.rows[rows.rows[index]])) if rows else ()
        listed.append((index, class_id, name, *label))
    yield from table(listed)
    if len(checked.classes) > CLASSES:
        yield " " * INDENT + f"and {len(checked.classes) - CLASSES} more"


def _made_head(planned: Model) -> str | None:
    """Return in words how the run makes the class embedding of a model, or None if it makes none."""
    embedding = planned.settings.class_embedding
    if embedding and embedding.fit:
        return f"the run fits a head ({embedding.fit}) to the {embedding.split or 'train'} split"
    return "the run makes the class embedding with a text tower" if embedding and embedding.text else None


def _no_accuracy(planned: Model, dataset: PlannedDataset) -> str | None:
    """Return why a model's accuracy is not known before the run, or None if it can be measured."""
    if planned.weights == "trained":
        return "after the training"
    if planned.weights == "random":
        return "that of guessing"
    if _made_head(planned):
        return "after the run has made the class embedding"
    return None if datasets.has_images(dataset) else "after the run has made the images"
