"""Work for the steps to come, done by threads while the present one is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")

THREADS = 4
"""Enough for a GPU: a processor draws a large batch in about the time of four of its steps."""


def prefetch(make: Callable[[int], T], steps: Iterable[int]) -> Iterator[T]:
    """``make(step)`` of every step, in order, made ahead of time.

    Torch lets other threads run while it computes. What ``make`` raises is raised here.

    Examples:
        >>> list(prefetch(lambda step: step**2, range(4)))
        [0, 1, 4, 9]
    """
    remaining = iter(steps)
    pool = ThreadPoolExecutor(THREADS)
    try:
        made: deque[Future[T]] = deque(pool.submit(make, s) for s in islice(remaining, THREADS))
        while made:
            result = made.popleft().result()
            made.extend(pool.submit(make, step) for step in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
