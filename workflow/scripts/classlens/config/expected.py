"""The expected numbers of runs, from `config/expected.yaml`. The plan imports this module, so it imports no table library."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import ConfigDict, Field

from classlens.config.catalogue import TABLES
from classlens.config.reading import validated
from classlens.config.settings import Section
from classlens.errors import InputError


class Row(Section):
    """The cells that identify a row of a table, and the expected number in this row."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, str]

    model: str
    """Name of the model."""
    value: float
    """Expected number."""


class Group(Section):
    """Expected numbers of one kind."""

    what: str
    """Quantity that the numbers measure, with its unit."""
    table: str
    """Table of the run with which the numbers are compared."""
    column: str
    """Column of the table."""
    tolerance: Annotated[float, Field(ge=0)]
    """Largest accepted difference, in the unit of the column."""
    source: str
    """Origin of the expected numbers."""
    rows: list[Row]
    """Rows of the table with their expected numbers."""


def of_run(path: Path, run: str) -> list[Group]:
    """Return the expected numbers of a run, or an empty list for a run without any.

    Args:
        path: `expected.yaml`.
        run: the run's name.

    Raises:
        InputError: the file has an unknown key or table.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        runs = {
            name: [validated(group, Group, what="key", within=(name, number)) for number, group in enumerate(groups)]
            for name, groups in content.items()
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    known = {table.name for table in TABLES}
    for group in (group for groups in runs.values() for group in groups):
        if group.table not in known:
            raise InputError(f"{path}: {group.table!r} is not a table; choose one of {', '.join(sorted(known))}")
    return runs.get(run, [])
