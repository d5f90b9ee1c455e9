"""Gradients of a sum on NumPy's arrays: dx, and in the same pass its sum over the axes in front, that of a bias.

The sum has one order for a shape, whatever the layout, the threads and the chunks: the rows of a block one after the
other, then the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import memory
from ..engine.runtime.layout import LINE, MAX_OPERANDS
from ..functions import arguments, dtypes
from ..functions.call import Call, Prepared
from ..functions.specification import Operation, Specification

ROOM = 1 << 19  # bytes of totals at a time
PANEL = 16384  # columns at a time: their totals lie in the second-level cache
_WIDE = np.empty(0)
LEAST, MOST = 1 << 16, 16  # elements of a block, which takes longer than to begin one; blocks
FEWEST = 4  # rows, where a bias is spread out for a row, as one number a channel of images in front is
NARROW, JOINED = 512, 64  # columns: as many times 64 narrower rows as make so many are one


def is_compiled(spec: Specification, operation: Operation) -> bool:
    """Return whether compiled code takes so many operands."""
    return sum(map(len, spec.operands(operation))) <= MAX_OPERANDS


def at_once(function: Any, dy: Any, x: Any, b: Any, parameters: dict[str, Any]) -> Any:
    """Compute both gradients of arrays that lie as the kernel takes them; None of others.

    What is checked here is what costs little: after a large array, Python's own code has left the caches.
    """
    method = function.methods.get(function.spec.backward_and_sum.name)
    if method is None or not type(dy) is type(x) is type(b) is np.ndarray:
        return None
    dtype, whole, shape = x.dtype, x.shape, b.shape
    if not dy.dtype is b.dtype is dtype or dy.shape != whole or shape != whole[len(whole) - len(shape) :]:
        return None
    if not x.size > b.size > 0 or any(type(number) is not float for number in parameters.values()):
        return None
    if not (x.flags.c_contiguous and dy.flags.c_contiguous and b.flags.c_contiguous):
        return None
    dx, columns = memory.empty_like(x), b.size
    arrays = [array.reshape(-1, columns) for array in (dy, x, b, dx)]
    if columns > PANEL or _joined(columns, dtype.itemsize) > 1:
        total = _total(method.compiled, arrays, [*parameters.values()])
    else:
        total = _added(method.compiled, arrays[0], arrays[1], arrays[2][0], parameters.values(), arrays[3])
    return None if total is None else (dx, dtypes.cast(total, dtype).reshape(shape))


def backward(call: Call, prepared: Prepared) -> Any:
    """Compute both gradients in one pass where b is a bias along the last axes; None where it is not."""
    dtype, operands, parameters, whole, _ = prepared
    spec: Any = call.spec
    dy, x, b = operands.values()
    shape = np.shape(b)
    behind = _behind(shape, whole)
    own, columns = shape[len(shape) - len(behind) :], math.prod(behind)
    if not 0 < columns <= math.prod(whole) // (2 if own == behind else FEWEST):
        return None
    if dtype.name not in dtypes.FLOATS or not is_compiled(spec, spec.backward_and_sum):
        return None
    if any(type(array) is not np.ndarray for array in (dy, x, b)) or not dy.shape == x.shape == whole:
        return None
    numbers = [arguments.fitting(call.name, name, value, dtype) for name, value in parameters.items()]
    method = call.function.methods[spec.backward_and_sum.name]
    if any(np.ndim(number) for number in numbers) or not method.prepare(dtype):
        return None
    if call.out is not None:
        arguments.require_out(call.name, call.operation.outputs, call.out, [whole, shape], dtype)
    given, given_sum = (None, None) if call.out is None else call.out
    read = [_rows(array, columns, dtype) for array in (dy, x, np.broadcast_to(b.reshape(own), behind))]
    dx = _target(given, read, dtype)
    total = _total(method.compiled, [*read, dx], [*map(float, numbers)])
    if total is None:
        return None
    with np.errstate(all="ignore"):
        total = total.reshape(behind).sum(axis=arguments.broadcast_axes(behind, own), keepdims=True)
    db = dtypes.cast(total, dtype).reshape(shape)
    if given is None:
        given = dx.reshape(whole)
    elif not np.may_share_memory(given, dx):
        given[...] = dx.reshape(whole)
    if given_sum is None:
        given_sum = db
    else:
        given_sum[...] = db
    return given, given_sum


def _total(compiled: Any, arrays: list[Any], numbers: list[float]) -> Any:
    """Compute dx of rows, the last array, and return its sums along the columns, in float64; None if it is refused."""
    columns = arrays[-1].shape[1]
    total, joined = np.empty(columns), _joined(columns, arrays[-1].itemsize)
    for first in range(0, columns, PANEL):
        part = slice(first, first + PANEL)
        dy, x, b, dx = arrays if columns <= PANEL else [array[:, part] for array in arrays]
        found = _summed(compiled, joined, dy, x, b[0], numbers, dx)
        if found is None:
            return None
        total[part] = found
    return total


def _behind(shape: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...]:
    """Return the last sides of an array, from the first on along which a bias is not one for all."""
    lead = next((k for k, side in enumerate(shape) if side != 1), len(shape))
    return whole[len(whole) - len(shape) + lead :]


def _rows(array: Any, columns: int, dtype: np.dtype[Any]) -> Any:
    """View an array as rows of so many columns; copy one that does not lie so."""
    rows = dtypes.canonical(dtypes.cast(array, dtype).reshape(-1, columns), dtype)
    apart = rows.strides[1] == rows.itemsize and _joined(columns, rows.itemsize) == 1
    return rows if (rows.flags.c_contiguous or apart) and rows.flags.aligned else rows.copy()


def _joined(columns: int, itemsize: int) -> int:
    """Return how many rows are computed as one: so many that rows are not too short, and begin with a line."""
    if columns < NARROW:
        return JOINED * -(-NARROW // (JOINED * columns))
    lines = LINE // math.gcd(LINE, columns * itemsize)
    return lines if lines * columns <= PANEL else 1


def _target(given: Any, read: list[Any], dtype: np.dtype[Any]) -> Any:
    """Return the rows of dx: of the array that is given, if it lies so and where nothing else is read."""
    rows = read[1]
    if given is not None and given.flags.c_contiguous and given.flags.aligned and given.dtype.isnative:
        dx = dtypes.canonical(given.reshape(rows.shape), dtype)
        if all(_is_same(dx, array) or not np.may_share_memory(dx, array) for array in read):
            return dx
    return memory.empty_like(rows, shape=rows.shape) if rows.flags.c_contiguous else np.empty(rows.shape, dtype)


def _is_same(a: Any, b: Any) -> bool:
    return bool(a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.shape == b.shape)


def _summed(compiled: Any, joined: int, dy: Any, x: Any, b: Any, numbers: list[float], dx: Any) -> Any:
    """Compute dx, and return its sums along the columns, in float64; None if compiled code refuses the arrays."""
    rows, columns = dx.shape
    many = rows // joined
    total = np.zeros(columns)
    for start, stop, width in ((0, many * joined, joined * columns), (many * joined, rows, (rows % joined) * columns)):
        if start == stop:
            continue
        every = [dy, x, dx]
        if joined > 1:
            every, b = [a[start:stop].reshape(-1, width) for a in every], np.tile(b[:columns], width // columns)
        dy_rows, x_rows, dx_rows = every
        found = _added(compiled, dy_rows, x_rows, b, numbers, dx_rows)
        if found is None:
            return None
        with np.errstate(all="ignore"):  # inf - inf is NaN
            total += found.reshape(-1, columns).sum(axis=0)
    return total


def _added(compiled: Any, dy: Any, x: Any, b: Any, numbers: Iterable[float], dx: Any) -> Any:
    """Compute dx by the kernel, and return the sums of its columns, in float64; None if it refuses the arrays."""
    rows, columns = dx.shape
    totals = memory.empty_like(_WIDE, shape=(_blocks(rows, columns), columns))
    totals.fill(0)
    if compiled(dy, x, b, totals, *numbers, dx) is NotImplemented:
        return None
    if len(totals) == 1:
        return totals[0]
    with np.errstate(all="ignore"):
        return np.add.reduce(totals, axis=0)


def _blocks(rows: int, columns: int) -> int:
    """Return in how many blocks rows are summed, which nothing but their shape decides."""
    most = max(1, min(MOST, ROOM // (8 * columns)))
    return min(most, max(1, rows * columns // LEAST), rows)
