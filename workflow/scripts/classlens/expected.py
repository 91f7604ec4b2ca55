"""The numbers that runs should give, from `config/expected.yaml`. Planning reads them too, so no table library is imported here."""

from pathlib import Path
from typing import Any

import yaml

from classlens.catalogue import TABLES
from classlens.config import check
from classlens.errors import InputError

Group = dict[str, Any]
"""Expected numbers of one kind: what, table, column, tolerance, source, rows."""


def of_run(path: Path, run: str) -> list[Group]:
    """The numbers that a run should give; none where nobody expects any.

    Args:
        path: `expected.yaml`, whose schema lies beside it.
        run: the run's name.

    Raises:
        InputError: the file has an unknown key or table.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        check(content, yaml.safe_load(path.with_suffix(".schema.yaml").read_text(encoding="utf-8")))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    known = {table.name for table in TABLES}
    for group in (group for groups in content.values() for group in groups):
        if group["table"] not in known:
            raise InputError(f"{path}: {group['table']!r} is no table; tables are {', '.join(sorted(known))}")
    return content.get(run, [])
