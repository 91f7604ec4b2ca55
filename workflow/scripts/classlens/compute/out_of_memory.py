"""Work on batches that continues with smaller batches if the VRAM is too small."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import torch

from classlens.errors import InputError
from classlens.progress import log

ADVICE = "set `compute.device` to cpu, or make sure that no other program uses the GPU"


class Divisible(Protocol):
    """A batch of images or of stored values. A slice of it is a smaller batch."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> Self: ...


Part = TypeVar("Part", bound=Divisible)
Result = TypeVar("Result")


def process_batches(
    batches: Iterable[Part], work: Callable[[Part], Result], write: Callable[[Result], None], most: int = sys.maxsize
) -> None:
    """Compute the result of every batch and write it, once and in order.

    If the VRAM is too small for a batch, the batch is split in two, and later batches are split into parts of at most this size. Each
    result goes to `write` before the next part begins, because results are large.

    Args:
        batches: batches of any length, which are not changed.
        work: computes the result of a batch. It must write nothing, because it runs again on the halves of a batch.
        write: writes a result.
        most: largest number of images per call of `work`.

    Raises:
        InputError: the VRAM is too small for one image.
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
    """Return [result], or [] if the VRAM is too small. On return, no reference to the tensors of a failed attempt is left."""
    try:
        return [work(batch[part])]
    except torch.OutOfMemoryError:
        return []


def _halved(count: int) -> int:
    if count == 1:
        raise _too_small(ADVICE)
    torch.cuda.empty_cache()
    log.info("the VRAM is too small for %d images at once: continuing with %d", count, (count + 1) // 2)
    return (count + 1) // 2


@contextmanager
def refused(advice: str = ADVICE) -> Iterator[None]:
    """Turn an out-of-memory error of the GPU within the block into an InputError with advice."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise _too_small(advice) from None


def _too_small(advice: str) -> InputError:
    return InputError(f"the VRAM is too small: {advice}")
