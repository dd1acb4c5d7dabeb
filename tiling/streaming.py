"""Rows copied past the cache, for a picture that is larger than it and that nobody reads again at once.

An ordinary store first reads the line of 64 bytes that it changes, so writing a heatmap of 105 MB moves 210 MB; a
non-temporal store of a whole line does not. LLVM makes the machine's own of it (`movnt` on x86, `stnp` on ARM), from
metadata that numba cannot express, hence the intrinsic. See LLVM Language Reference, "store", `!nontemporal`; Drepper,
"What every programmer should know about memory" (2007), section 6.1.

Rows are named by their indices and are never sliced: numba counts the references to a slice by atomic instructions, and
such a one waits until everything written before it has left the core, which costs more than copying the row. The
indices are unsigned, or else numba looks at each whether it counts from the end, and the loop is not vectorised.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from flawmap.tiling.compiled import inlined

LINE_BYTES = 64


def _store_line_typed(
    typing_context: Any, source: Any, source_y: Any, source_x: Any, target: Any, target_y: Any, target_x: Any
) -> Any:
    """Copy a line from [source_y, source_x] of `source` to [target_y, target_x] of `target`, where a line begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = ir.VectorType(ir.IntType(32), LINE_BYTES // 4)

        def pointer(of: int) -> Any:
            kind = signature.args[of]
            array = context.make_array(kind)(context, builder, arguments[of])
            indices = arguments[of + 1 : of + 3]
            item = cgutils.get_item_pointer(context, builder, kind, array, indices)  # type: ignore[no-untyped-call]
            return builder.bitcast(item, line.as_pointer())

        value = builder.load(pointer(0), align=source.dtype.bitwidth // 8)
        store = builder.store(value, pointer(3), align=LINE_BYTES)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(source, source_y, source_x, target, target_y, target_x), generate


def _values_a_line_typed(typing_context: Any, array: Any) -> Any:
    """How many values of `array` a line holds: known when compiling, as `array.itemsize` is not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.uintp, LINE_BYTES * 8 // array.dtype.bitwidth)

    return types.uintp(array), generate


def _settle_typed(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


_store_line: Any = intrinsic(_store_line_typed)
_values_a_line: Any = intrinsic(_values_a_line_typed)

settle: Any = intrinsic(_settle_typed)
"""To be called by a kernel after its last `stream_row`: only then are the rows there for other threads."""


@inlined
def stream_row(
    source: np.ndarray,
    source_y: np.uintp,
    source_x: np.uintp,
    target: np.ndarray,
    target_y: np.uintp,
    target_x: np.uintp,
    width: np.uintp,
) -> None:
    """Copy `width` values of row `source_y` of `source` [*, *], from `source_x` on, to a place in `target` [*, *].

    Both C-contiguous and of one dtype. Of `target`, lines that lie whole in the row go past the cache. Indices are
    not checked.
    """
    a_line = _values_a_line(target)
    value_bytes = np.uintp(LINE_BYTES) // a_line
    place = np.uintp(target.ctypes.data) // value_bytes + target_y * np.uintp(target.shape[1]) + target_x
    before = (a_line - place % a_line) % a_line  # values in front of the first whole line
    lines = np.uintp(0)
    if before < width and np.uintp(target.ctypes.data) % value_bytes == 0:
        lines = (width - before) // a_line
    if lines == 0:
        before = width
    for x in range(before):
        target[target_y, target_x + x] = source[source_y, source_x + x]
    for line in range(lines):
        x = before + line * a_line
        _store_line(source, source_y, source_x + x, target, target_y, target_x + x)
    for x in range(before + lines * a_line, width):
        target[target_y, target_x + x] = source[source_y, source_x + x]
