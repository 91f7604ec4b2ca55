"""Atomic write: a file is complete or absent, even if a program is killed while it writes."""

import glob
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if the block ends without an error.

    Temporary files have random names, because processes on two machines may have the same process id. Temporary files that a killed process
    left behind are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")  # matplotlib chooses the format by the suffix
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
