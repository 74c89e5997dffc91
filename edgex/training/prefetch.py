"""Work done ahead by threads, handed over in order: OpenCV and hashing release the interpreter's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")


def prefetch(work: Callable[[S], T], items: Iterable[S], *, workers: int) -> Iterator[T]:
    """Yield ``work(item)`` for each item, in order, computed up to `workers` + 2 items ahead.

    Args:
        work: Called in a thread; an exception ends the iteration and comes out of it.
        items: Taken lazily, in the consumer's thread.
        workers: Threads; 0 works in the consumer's own.
    """
    if workers == 0:
        yield from map(work, items)
        return
    remaining = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edgex-photos")
    try:
        ahead: deque[Future[T]] = deque(pool.submit(work, item) for item in islice(remaining, workers + 2))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
