"""Work on batches that goes on with smaller ones where the memory of the GPU is too small."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import torch

from classlens.errors import InputError
from classlens.progress import log

ADVICE = "set `compute.device` to cpu, or see that no other program uses the GPU"


class Divisible(Protocol):
    """Images, or what is stored of them, of which a slice is a smaller batch."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> Self: ...


Part = TypeVar("Part", bound=Divisible)
Result = TypeVar("Result")


def each(batches: Iterable[Part], work: Callable[[Part], Result], write: Callable[[Result], None], most: int = sys.maxsize) -> None:
    """Do some work on every batch and write its result, once and in order.

    A batch that the memory is too small for is split in two, and so is every later one. A result is passed on and forgotten before the next
    batch begins: results are large.

    Args:
        batches: of any length; they are not changed.
        work: computes and writes nothing, because it is done again on the halves of a batch.
        write: what becomes of the result.
        most: images of a batch that are worked on at once.

    Raises:
        InputError: the memory is too small for one image.
    """
    for batch in batches:
        start = 0
        while start < len(batch):
            count = min(most, len(batch) - start)
            if result := _tried(work, batch, slice(start, start + count)):
                start += count
                write(result.pop())
            else:
                most = _halved(count)


def _tried(work: Callable[[Part], Result], batch: Part, part: slice) -> list[Result]:
    """The result alone, or nothing where the memory is too small. When this returns, nothing holds the tensors of a failed attempt."""
    try:
        return [work(batch[part])]
    except torch.OutOfMemoryError:
        return []


def _halved(count: int) -> int:
    if count == 1:
        raise _too_small(ADVICE)
    torch.cuda.empty_cache()
    log.info("the GPU's memory is too small for %d images at once: going on with %d", count, (count + 1) // 2)
    return (count + 1) // 2


@contextmanager
def refused(advice: str = ADVICE) -> Iterator[None]:
    """Within the block, too little memory is an InputError that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise _too_small(advice) from None


def _too_small(advice: str) -> InputError:
    return InputError(f"the GPU's memory is too small: {advice}")
