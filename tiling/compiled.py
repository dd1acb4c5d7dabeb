"""How flawmap compiles its kernels: numba, without the GIL, kept on disk between runs."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])

log = logging.getLogger("flawmap")


def compiled(function: Function) -> Function:
    """Compile `function` at its first call, serially and without the GIL, and keep the machine code on disk.

    numba keeps it in `NUMBA_CACHE_DIR` where that is set, else in `__pycache__` beside the source, else (a read-only
    installation) in the user's cache folder. Where none of them can be written to, numba refuses to import; flawmap
    then compiles anew in every process (about two seconds) instead. Whoever waits for it is told (`_Announce`). What is
    kept is as old as the function's own file: who edits one that it calls in another file removes the `__pycache__`.

    Never `parallel=True`: beside torch it made a step fifty times slower, and numba's workqueue layer aborts the
    process when two Python threads enter it.
    """
    return _kept(function)


def inlined(function: Function) -> Function:
    """As `compiled`, for what a kernel calls at every row: it becomes part of the kernel, and nothing is handed over.

    Handing over an array is a dozen words on the stack, which for a row of 1 KB costs half as much as copying it.
    """
    return _kept(function, forceinline=True)


def _kept(function: Function, forceinline: bool = False) -> Function:
    try:
        kernel = njit(nogil=True, cache=True, forceinline=forceinline)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        kernel = njit(nogil=True, forceinline=forceinline)(function)
    return cast(Function, kernel)


class _Announce(event.Listener):
    """Says once in a process that it compiles, and whether the next one will, too; numba tells what the disk lacks."""

    said = False

    def on_start(self, started: event.Event) -> None:
        kernel = started.data["dispatcher"]
        if self.said or not str(kernel.py_func.__module__).startswith("flawmap."):
            return
        self.said = True
        folder = kernel.stats.cache_path
        if folder is None:
            log.info(
                "compiling for this machine takes some seconds, at every start: set NUMBA_CACHE_DIR to a folder that "
                "can be written, and it is done once"
            )
        else:
            log.info("compiling for this machine takes some seconds, at the first start only (kept in %s)", folder)

    def on_end(self, ended: event.Event) -> None:
        pass


event.register("numba:compile", _Announce())  # type: ignore[no-untyped-call]
