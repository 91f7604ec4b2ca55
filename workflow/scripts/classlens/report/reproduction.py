"""Comparison of a run's numbers with the expected numbers: from the paper, or from the demo as delivered.

The expected numbers are in `config/expected.yaml`, by the run's name, and ours are in the run's tables.
"""

from typing import Any

import polars as pl

from classlens.config.expected import Group, Row
from classlens.errors import InputError

SCHEMA = {
    "quantity": pl.String,
    "model": pl.String,
    "expected": pl.Float64,
    "ours": pl.Float64,
    "difference": pl.Float64,
    "tolerance": pl.Float64,
    "status": pl.String,
    "source": pl.String,
    "table": pl.String,
}


def compare(groups: list[Group], tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return a row per expected number: expected value, our value, and whether they agree within the tolerance.

    Args:
        groups: from `expected.of_run`.
        tables: the run's existing tables, by name.

    Returns:
        columns of `SCHEMA`; status is `pass`, `fail`, or `not run` if the run lacks the table or row.

    Raises:
        InputError: a table lacks a column that an expected number names.
    """
    rows = [_compared(group, row, tables.get(group.table)) for group in groups for row in group.rows]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def _compared(group: Group, row: Row, table: pl.DataFrame | None) -> dict[str, Any]:
    others = row.model_extra or {}
    cells = {"model": row.model, **others}
    which = ", ".join(others.values())
    ours = None if table is None else _cell(table, cells, group)
    difference = None if ours is None else ours - row.value
    return {
        "quantity": f"{group.what} ({which})" if which else group.what,
        "model": row.model,
        "expected": row.value,
        "ours": ours,
        "difference": difference,
        "tolerance": group.tolerance,
        "status": _status(difference, group.tolerance),
        "source": group.source,
        "table": group.table,
    }


def _status(difference: float | None, tolerance: float) -> str:
    """Return `not run`, `pass` or `fail`. A difference is rounded, because 94.7 - 94.5 is a little more than 0.2."""
    if difference is None:
        return "not run"
    return "pass" if round(abs(difference), 9) <= tolerance else "fail"


def _cell(table: pl.DataFrame, cells: dict[str, Any], group: Group) -> float | None:
    """Return the number in the row with these cells, or None if no row has them."""
    for name in (*cells, group.column):
        if name not in table.columns:
            raise InputError(f"expected.yaml: table {group.table} has no column {name!r}; it has {', '.join(table.columns)}")
    found = table.filter(*(pl.col(name) == value for name, value in cells.items()))
    return float(found[group.column][0]) if len(found) else None


def section(results: dict[str, pl.DataFrame]) -> str:
    """Return the tables of reproduced numbers for a page, one for each run.

    Args:
        results: result of `compare`, by name of the run.
    """
    text = ""
    for run, frame in results.items():
        counts = ", ".join(
            f"{count} {status}" for status in ("pass", "fail", "not run") if (count := int((frame["status"] == status).sum()))
        )
        text += f"### Run `{run}`: {counts}\n\n"
        text += "| number | model | expected | ours | difference | tolerance | |\n|---|---|---|---|---|---|---|\n"
        for row in frame.iter_rows(named=True):
            ours, difference = (("" if row[name] is None else f"{row[name]:.4g}") for name in ("ours", "difference"))
            cells = [
                row["quantity"],
                f"`{row['model']}`",
                f"{row['expected']:g}",
                ours,
                difference,
                f"{row['tolerance']:g}",
                row["status"],
            ]
            text += f"| {' | '.join(cells)} |\n"
        text += "\n"
    return text
