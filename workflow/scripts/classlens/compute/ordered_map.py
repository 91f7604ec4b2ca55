"""Work that is done in threads ahead of where its results are needed, with results in order and few of them waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    start: Callable[[ThreadPoolExecutor, Item], Callable[[], Result]], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """What is made of each item, in order, while at most so many further items are worked on, so that memory stays bounded.

    Args:
        start: submits an item's work to the threads, and returns what waits for its result.
        items: are taken one by one, as results are.
        threads: how many work at once.
        ahead: how many items are worked on beyond the one whose result is next.
    """
    waiting: deque[Callable[[], Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(start(pool, item))
                if len(waiting) > ahead:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        finally:
            pool.shutdown(cancel_futures=True)
