"""Row-wise functions that reduce, on NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..functions import arguments, dtypes, subclasses
from ..functions.call import Call, prepare
from ..functions.reduction import of_nothing
from ..functions.rows import as_rows, from_rows
from .row_options import flags_of


def compute(call: Call) -> Any:
    """Compute the value or the gradient: rows are laid one behind the other, and what does not count in them is -inf.

    A kernel takes contiguous rows, so an array of another layout or dtype is copied first, as is one with numbers that
    do not count.
    """
    name, spec, backward = call.name, call.spec, "dy" in call.operands
    assert call.options is not None
    where = flags_of(name, call.options.where)
    call = call._replace(options=call.options._replace(where=where))
    dtype, operands, _, shape, axes = prepare(call, arguments.operand)
    inputs = {key: np.asanyarray(array) for key, array in operands.items()}
    x, whole = np.asarray(inputs["x"]), inputs["x"].shape
    own: Any = None
    if call.out is not None:
        arguments.require_out(name, call.operation.outputs, call.out, shape, dtype)
        subclasses.require_mask_in_out(name, inputs, call.out)
        own = call.out[0] if isinstance(call.out, tuple) else call.out
    hides = subclasses.hidden(whole, inputs["x"])
    out_of_it = hides if where is None else ~np.broadcast_to(where, whole)
    out_of_it = out_of_it if where is None or hides is None else out_of_it | hides
    method: Any = call.function.methods[call.operation.name]
    method.prepare(dtype)

    def lay(array: Any) -> Any:
        made = array if array.dtype == dtype else dtypes.cast(array, dtype)
        return dtypes.canonical(np.require(made, requirements=["C", "A"]), dtype)

    moved = as_rows(x, axes)
    rows = lay(moved).reshape(math.prod(moved.shape[:-1]), moved.shape[-1])
    none = None if out_of_it is None else as_rows(out_of_it, axes).reshape(rows.shape)
    if none is not None:
        rows = np.where(none, dtype.type(spec.nothing), rows)  # type: ignore[attr-defined]
    if not backward:
        result = np.empty(rows.shape[0], dtype)
        if rows.size:
            method.compute(rows, result)
        else:
            result[...] = of_nothing(spec)
        made = result.reshape(shape)
        hides = None if hides is None else hides.all(axis=axes, keepdims=True).reshape(shape)
    else:
        dy = inputs["dy"]
        target = None if own is None else np.asarray(own)
        written = _memory(target, axes, dtype, rows, dy)
        if rows.size:
            method.compute(lay(np.asarray(dy)).reshape(-1), rows, written)
        if none is not None:
            np.copyto(written, 0, where=none)
        made = from_rows(written.reshape(moved.shape), axes, whole)
        if hides is not None or subclasses.is_masked(dy):
            hidden_dy = subclasses.hidden(dy.shape, dy)
            spread = call.options._replace(keepdims=True).shape(whole, axes)
            hides = hides if hidden_dy is None else hidden_dy.reshape(spread) | (False if hides is None else hides)
            hides = np.broadcast_to(hides, whole).copy()
            made = np.where(hides, made.dtype.type(0), made)
    if own is not None and not np.may_share_memory(made, np.asarray(own)):
        np.asarray(own)[...] = made
    return subclasses.answered(made, own, inputs.values(), hides)


def _memory(target: Any, axes: tuple[int, ...], dtype: Any, rows: Any, dy: Any) -> Any:
    """Return rows to write a gradient to: those of an output, if they have no gaps and nothing that is still read."""
    if target is not None and len(axes) == 1 and target.dtype.isnative and target.flags.aligned:
        moved = as_rows(target, axes)
        same = target.ctypes.data == rows.ctypes.data or not np.may_share_memory(target, rows)
        if moved.flags.c_contiguous and same and not np.may_share_memory(target, dy):
            return dtypes.canonical(moved.reshape(rows.shape), dtype)
    return np.empty_like(rows)
