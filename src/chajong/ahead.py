"""Work done by threads ahead of its user, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Made = TypeVar("Made")


def in_order(
    work: Callable[[T], Made], items: Iterable[T], num_threads: int, num_ahead: int
) -> Iterator[Made]:
    """Work on items in threads.

    Args:
        work: What to do with each.
        items: They are taken as they are needed.
        num_threads: 1 or more.
        num_ahead: At most how many are begun and not yet given out, 1 or more.

    Yields:
        What was made of each item, in their order; an error is raised where its item stood.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= num_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
