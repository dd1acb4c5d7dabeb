"""How flawmap compiles its kernels: numba, without the GIL, kept on disk between runs."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` at its first call, serially and without the GIL, and keep the machine code on disk.

    numba keeps it in `NUMBA_CACHE_DIR` where that is set, else in `__pycache__` beside the source, else (a read-only
    installation) in the user's cache folder. Where none of them can be written to, numba refuses to import; flawmap
    then compiles anew in every process (about two seconds) instead.

    Never `parallel=True`: beside torch it made a step fifty times slower, and numba's workqueue layer aborts the
    process when two Python threads enter it.
    """
    try:
        kernel = njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        kernel = njit(nogil=True)(function)
    return cast(Function, kernel)
