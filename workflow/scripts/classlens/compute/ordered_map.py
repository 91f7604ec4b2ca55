"""A parallel map that works ahead in threads, keeps the order of results, and limits the number of waiting results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    start: Callable[[ThreadPoolExecutor, Item], Callable[[], Result]], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """Yield the result of each item, in order, while threads work on at most `ahead` further items, so that RAM stays bounded.

    Args:
        start: submits an item's work to the threads, and returns a function that waits for the result.
        items: the items, which are taken one by one as results are consumed.
        threads: number of threads.
        ahead: number of items in progress beyond the item of the next result.
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
