"""Work on several things at once, whose results come in the order of the things."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def in_order(things: Iterable[Thing], work: Callable[[Thing], Result], at_once: int) -> Generator[Result, None, None]:
    """`work(thing)` of each of `things`, `at_once` of them in threads, one more waiting; in the caller's with 1.

    `things` are taken in the caller's thread. What `work` raises comes out in its turn; closing the generator waits for
    what runs.
    """
    if at_once == 1:
        yield from map(work, things)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="flawmap-lane") as pool:
        try:
            for thing in things:
                waiting.append(pool.submit(work, thing))
                del thing  # or it would be kept while the next one is waited for
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
