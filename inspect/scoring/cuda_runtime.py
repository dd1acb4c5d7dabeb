"""What flawmap asks of the CUDA runtime by itself: memory that a GPU reads by itself, and what it has free.

ONNX Runtime has the library loaded (CUDA C++ Programming Guide, "Page-Locked Host Memory"; CUDA Runtime API,
cudaMemGetInfo). Where it cannot be had everything here answers as on a machine without a GPU.
"""

import ctypes
import weakref
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll")


def page_locked(shape: tuple[int, ...], dtype: np.dtype[Any], on_gpu: bool) -> Image:
    """Zeros that a GPU reads and writes without the processor's help, or ordinary ones where that cannot be had."""
    array = np.zeros(shape, dtype)
    runtime = _runtime() if on_gpu else None
    if runtime is not None and array.nbytes:
        address = ctypes.c_void_p(array.ctypes.data)
        if runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), ctypes.c_uint(0)) == 0:
            weakref.finalize(array, runtime.cudaHostUnregister, address)
    return array


def free_memory() -> int | None:
    """Bytes that are free on the first GPU, whoever has the rest; None where nobody can tell."""
    runtime = _runtime()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if runtime is None or runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != 0:
        return None
    return free.value


@cache
def _runtime() -> ctypes.CDLL | None:
    """The CUDA runtime that ONNX Runtime has loaded, or None."""
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
