"""Kernels in threads: the work is parted by rows, and each thread takes the next part until none is left.

Compiled kernels run serially and without the GIL, so plain threads are all that is needed, and unlike numba's own
parallel loops they stand beside torch and beside each other.

To wake a thread takes as long as a few parts do, and on a busy machine it may not come at all. Nobody waits for that:
the caller works on meanwhile, and what the others have not begun when nothing is left to take is taken back.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

Part = TypeVar("Part")

BYTES_A_PART = 1 << 20  # at least: 50 to 100 microseconds; less takes no longer than handing it over
PARTS_A_CORE = 4

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(kernel: Callable[[int, int], Part], n_bytes: int) -> list[Part]:
    """`kernel(part, parts)` for every part of work that moves `n_bytes`, side by side; the results in their order.

    After an error no thread begins another part; it is raised when all have stopped.
    """
    parts = max(1, min(PARTS_A_CORE * CORES, n_bytes // BYTES_A_PART))
    if parts == 1:
        return [kernel(0, 1)]
    waiting = deque(range(parts))
    results: dict[int, Part] = {}

    def work() -> None:
        while True:
            try:
                part = waiting.popleft()  # whichever thread asks first
            except IndexError:
                return
            try:
                results[part] = kernel(part, parts)
            except BaseException:
                waiting.clear()
                raise

    others = [_pool().submit(work) for _ in range(min(CORES, parts) - 1)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)  # after an error, too: they write where the caller may write next
    for other in begun:
        other.result()
    return [results[part] for part in range(parts)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="flawmap-kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process (a torch loader's) has none of the threads
