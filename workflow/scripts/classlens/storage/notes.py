"""Notes: JSON files of what a process has found out, so that the next one is faster. They may be deleted at any time."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from classlens.storage.atomic_write import atomic_write


def read(path: Path | None) -> dict[str, Any]:
    """Return notes, or an empty dictionary if there are none."""
    if path and path.is_file():
        with suppress(ValueError):  # a crash cut the file short
            return json.loads(path.read_text(encoding="utf-8"))
    return {}


def write(path: Path | None, notes: dict[str, Any]) -> None:
    """Write notes if there is a path and its folder can be written: without notes, the next process is slower but still right."""
    if path is None:
        return
    with suppress(OSError), atomic_write(path) as draft:
        draft.write_text(json.dumps(notes), encoding="utf-8")
