"""Kernels in threads: each takes its part of the rows.

Compiled kernels run serially and without the GIL, so plain threads are all that is needed, and unlike numba's own
parallel loops they stand beside torch and beside each other.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Part = TypeVar("Part")

BYTES_A_THREAD = 1 << 20  # less work takes no longer than handing it over

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(kernel: Callable[[int, int], Part], n_bytes: int) -> list[Part]:
    """`kernel(part, parts)` for every part of work that moves `n_bytes`, side by side; the results in their order.

    `kernel` must not call `in_threads`: it would wait for a thread that waits for it.
    """
    parts = max(1, min(CORES, n_bytes // BYTES_A_THREAD))
    if parts == 1:
        return [kernel(0, 1)]
    others = [_pool().submit(kernel, part, parts) for part in range(1, parts)]
    return [kernel(0, parts), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="flawmap-kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process (a torch loader's) has none of the threads
