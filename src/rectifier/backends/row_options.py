"""The options of row-wise functions on NumPy arrays, laid for the kernels, and the gradient of a sink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.rowoptions import Laid
from ..functions import arguments, dtypes, gradients, row_options
from ..functions.call import Call, Prepared, prepare
from ..functions.rows import as_rows
from ..functions.specification import ROWS, ROWS_BACKWARD

# Of a call, whose `extra` the kernel writes: a float64 for each row.
Compute = Callable[[Call, Any], Any]


def lay(call: Call, prepared: Prepared) -> Laid:
    """Check the options of a call, and lay them as its rows lie: along the last axis."""
    assert call.options is not None
    dtype, _, _, shape, axes = prepared
    where, sink = flags_of(call.name, call.options.where), call.options.sink
    row_options.require_shown(call.name, "sink", sink)
    sink = None if sink is None else row_options.sink_of(call.name, sink, dtype)
    options = row_options.checked(call.name, call.options._replace(where=where, sink=sink), shape, axes, dtype)
    flags = None
    if where is not None:
        whole = np.broadcast_to(_along(where, axes, len(shape)), shape)
        flags = as_rows(whole, axes)
        if flags.strides[-1] not in (0, 1) and flags.shape[-1] > 1:
            flags = np.ascontiguousarray(flags)
    outer = row_options.outer_shape(shape, axes)
    sinks = np.broadcast_to(np.float64(-np.inf) if sink is None else sink, outer)
    return Laid(options.scale, shape[-2] if options.causal else 0, flags, sinks)


def flags_of(function: str, where: Any) -> Any:
    """Return `where` as an array, or None."""
    if where is None:
        return None
    row_options.require_shown(function, "where", where)
    return np.asarray(where)


def _along(where: Any, axes: tuple[int, ...], dimensions: int) -> Any:
    """Return the same numbers, without gaps along the axis of a row: what is broadcast to x would be copied whole."""
    axis = axes[0] - dimensions if len(axes) == 1 else 0
    if not -where.ndim <= axis < 0 or where.shape[axis] == 1 or where.strides[axis] == 1:
        return where
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(where, axis, -1)), -1, axis)


def without_hidden(laid: Laid, covered: Any) -> Laid:
    """Return options by which what is hidden does not count."""
    return laid._replace(flags=~covered if laid.flags is None else laid.flags & ~covered)


def apart_from(laid: Laid, written: Any) -> Laid:
    """Return options that do not change when an array is written."""
    flags, sink = (
        array.copy() if array is not None and np.may_share_memory(array, written) else array
        for array in (laid.flags, laid.sink)
    )
    return laid._replace(flags=flags, sink=sink)


def gradients_of_sink(call: Call, compute: Compute) -> Any:
    """Compute dx and dsink: minus the sink's share of the sum, times the sum that backward takes of a row."""
    assert call.options is not None
    name, outputs = call.name, call.operation.outputs
    prepared = prepare(call, arguments.operand)
    dtype, operands, _, shape, _ = prepared
    laid = lay(call, prepared)
    own = np.shape(call.options.sink)
    if call.out is not None:
        arguments.require_out(name, outputs, call.out, [shape, own], dtype)
    dx, dsink = (None, None) if call.out is None else call.out
    share, whole = np.zeros(laid.sink.shape), np.zeros(laid.sink.shape)
    values = Call(call.function, ROWS, {"x": operands["x"]}, {}, None, call.axis, call.options)
    y = compute(values, share)
    back = Call(call.function, ROWS_BACKWARD, {"dy": operands["dy"], "y": y}, {}, dx, call.axis, call.options)
    made = compute(back, whole)
    with np.errstate(all="ignore"):
        each = np.where(whole == 0, 0, -share * whole)  # a share of a row of nothing is NaN
    total = dtypes.cast(gradients.sum_to(each, own, gradients.add), dtype)
    if dsink is not None:
        np.asarray(dsink)[...] = total
        return made, dsink
    return made, total[()]
