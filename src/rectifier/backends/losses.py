"""Losses of NumPy's arrays: the rows laid for the kernels, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functions import arguments, dtypes, targets
from ..functions.call import Call


def compute(call: Call) -> Any:
    """Compute losses, or the gradient, or both."""
    from ..engine import losses as engine

    name, outputs = call.name, call.operation.outputs
    checked = targets.check(call, arguments.operand)  # a number adapts to the dtype of the arrays
    dtype, operands, axis, shape, has_classes = checked
    x, target = np.asarray(operands["x"]), np.asarray(operands["target"])
    with_gradient, with_losses = "dx" in outputs, "loss" in outputs
    out_loss, out_dx = _outs(call, [shape, x.shape], dtype)
    targets.require_numbers(name, target, x.shape[axis] if has_classes else None, dtype)
    rows = _laid(x, axis, dtype)
    goal = np.array(target, np.int64, order="C") if has_classes else _laid(target, axis, dtype)
    upstream = None
    if "dloss" in operands:
        rounded = dtypes.cast(dtypes.cast(np.asarray(operands["dloss"]), dtype), np.dtype(np.float64))
        upstream = np.array(np.broadcast_to(rounded, shape), order="C")
    losses = np.zeros(shape) if with_losses else None
    result: Any = None
    given: Any = None
    if with_gradient:
        given = None if out_dx is None else np.moveaxis(np.asarray(out_dx), axis, -1)
        if given is not None and given.flags.c_contiguous and given.flags.aligned and given.dtype.isnative:
            result = given
            rows, goal = (_apart(array, result) for array in (rows, goal))
        else:
            result = _empty(rows, engine.compiles(dtype))
    if rows.size:
        method = engine.GRADIENT if with_gradient else engine.VALUE
        method.compute(dtypes.canonical(rows, dtype), dtypes.canonical(result, dtype), goal, upstream, losses)
    made = []
    if losses is not None:
        loss = dtypes.cast(losses, dtype)
        if out_loss is not None:
            out_loss[...] = loss
        made.append(loss[()] if out_loss is None else out_loss)
    if result is not None:
        dx = np.moveaxis(result, -1, axis)
        if out_dx is not None and result is not given:
            out_dx[...] = dx
        made.append(dx if out_dx is None else out_dx)
    return tuple(made) if len(made) > 1 else made[0]


def _outs(call: Call, shapes: list[tuple[int, ...]], dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Check `out`, and return the arrays of the losses and of the gradient, or None; one array is of the gradient."""
    if call.out is None:
        return None, None
    if isinstance(call.out, tuple) and len(call.operation.outputs) > 1:
        arguments.require_out(call.name, call.operation.outputs, call.out, shapes, dtype)
        loss, dx = call.out
        return loss, dx
    arguments.require_out(call.name, ("dx",), call.out, shapes[1], dtype)
    return None, call.out[0] if isinstance(call.out, tuple) else call.out


def _laid(array: Any, axis: int, dtype: np.dtype[Any]) -> Any:
    moved = np.moveaxis(array, axis, -1)
    cast = moved if moved.dtype == dtype else dtypes.cast(moved, dtype)
    return np.require(cast, requirements=["C", "A"])


def _apart(array: Any, written: Any) -> Any:
    """Copy an array that is written elsewhere than it is read."""
    same = array.dtype == written.dtype and array.ctypes.data == written.ctypes.data
    return array.copy() if np.may_share_memory(array, written) and not same else array


def _empty(array: Any, compiled: bool) -> Any:
    """Make a result, of the pool's memory where code is compiled."""
    if not compiled:
        return np.empty_like(array)
    from ..engine import memory

    return memory.empty_like(array)
