"""Progress of long loops: a bar on a terminal, and lines in the log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10

log = logging.getLogger("classlens")


def progress(
    items: Iterable[Item], total: int, what: str, unit: str = "images", size: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """Yield the items, with a progress bar on a terminal and a log line every ten seconds.

    Args:
        items: items to process.
        total: sum of the items' sizes.
        what: description of the work, for people.
        unit: unit of the sizes.
        size: function that returns the size of an item.
    """
    done, start = 0, time.monotonic()
    last = start
    with tqdm(total=total, desc=what, unit=f" {unit}", leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for item in items:
            yield item
            done += size(item)
            bar.update(size(item))
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                log.info("%s: %d of %d %s, %.1f per second", what, done, total, unit, done / (last - start))
    log.info("%s: %d %s in %.1f s", what, done, unit, time.monotonic() - start)
