"""Shared code of the programs that read a data set's files."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import cli
from classlens.config.settings import ColumnSettings, Section
from classlens.config.steps import ClassListStep
from classlens.data.layouts import Dataset
from classlens.data.table_layout import TableDataset
from classlens.data.tables import Columns, Tables
from classlens.protocol import Protocol


def parser(description: str | None, settings: type[Section]) -> cli.Parser:
    """Return a parser with the arguments for the places of a data set."""
    found = cli.Parser(description, settings).one(root="folder that the paths of images are relative to")
    return found.maybe(
        tables="table that lists the images, or folder of such tables (kind table)",
        classes="imagenet, or a file with one class per line",
        names="file with the names of the classes",
    )


def dataset(args: Namespace, settings: ClassListStep, **further: Any) -> Dataset:
    """Return the data set that a program received.

    Args:
        args: parsed arguments of `parser`.
        settings: settings of the step.
        further: further attributes of the data set.
    """
    found: dict[str, Any] = {
        "kind": settings.kind,
        "root": args.root,
        "classes": str(args.classes) if args.classes else None,
        "class_order": settings.class_order,
        "class_splits": tuple(settings.class_splits),
        "names": args.names,
        "skip": getattr(settings, "on_bad_image", "error") == "skip",
        "protocol": Protocol.named(settings.protocol),
        **further,
    }
    if settings.kind == "table":
        columns = Columns(**dict(settings.columns or ColumnSettings()))
        return TableDataset(tables=Tables(args.tables, columns, with_boxes=getattr(settings, "box_format", None) is not None), **found)
    return Dataset(subset=settings.subset, folders=settings.folders or {}, **found)


def mask_folder(args: Namespace) -> Path | None:
    """Return the folder of the masks in the config; None if it gives none, or a file of segments."""
    return None if args.masks is None or args.masks.suffix.lower() == ".json" else args.masks
