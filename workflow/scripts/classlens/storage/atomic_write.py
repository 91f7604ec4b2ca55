"""Files appear whole or not at all, also when a program is killed while it writes."""

import glob
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only when the block ends without an error.

    Drafts have random names, because processes on two machines may have one number; those that a killed process left behind are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")  # the suffix stays: matplotlib goes by it
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
