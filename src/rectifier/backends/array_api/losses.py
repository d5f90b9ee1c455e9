"""Losses in the operations of an array library, which differentiates them by the rule of log_softmax."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ...formulas.rows import linear_sum
from ...functions.call import Call
from ...functions.targets import Checked
from .formula import row_gradient, row_tangent, row_value
from .library import Library, RowRule


def compute(library: Library, call: Call, checked: Checked, kind: str) -> Any:
    """Compute losses, or the gradient, or both, of arrays whose numbers NumPy does not see."""
    spec: Any = call.spec
    xp, axis, operands = library.xp, checked.axis, checked.operands
    like = next(filter(library.is_own, operands.values()))
    x, target = _floating(library, operands["x"], kind, like), operands["target"]
    chosen = valid = None
    if checked.has_classes:
        classes = xp.reshape(target, _kept(checked)) if library.is_own(target) else int(target)
        numbers = library.count(x.shape[axis], like)
        chosen = classes == xp.reshape(numbers, tuple(-1 if k == axis else 1 for k in range(len(x.shape))))
        valid = (classes >= 0) & (classes < x.shape[axis])
    else:
        target = _floating(library, target, kind, like)
    outputs, results = call.operation.outputs, []
    if "loss" in outputs:
        y = _row_wise(library, spec.log_softmax, kind, axis, x)
        zero = library.number(0.0, kind, like)
        if chosen is not None:
            losses = -xp.sum(xp.where(chosen, y, zero), axis=axis, keepdims=True)
            losses = xp.where(valid, losses, library.number(math.nan, kind, like))
        else:
            losses = -linear_sum(target * xp.where(target == 0, zero, y), axis)
        results.append(xp.reshape(losses, checked.shape))
    if "dx" in outputs:
        p, one = _row_wise(library, spec.softmax, kind, axis, x), library.number(1.0, kind, like)
        if chosen is not None:
            dx = p - xp.where(chosen, one, 0 * one)
            dx = xp.where(valid, dx, library.number(math.nan, kind, like))
        else:
            dx = p * linear_sum(target, axis) - target
        if "dloss" in operands:
            dloss = xp.broadcast_to(_floating(library, operands["dloss"], kind, like), checked.shape)
            dx = xp.reshape(dloss, _kept(checked)) * dx
        results.append(dx)
    return tuple(results) if len(results) > 1 else results[0]


def _floating(library: Library, array: Any, kind: str, like: Any) -> Any:
    if library.is_own(array):
        return library.astype(array, kind)
    return library.number(float(array), kind, like)


def _kept(checked: Checked) -> tuple[int, ...]:
    """Return the shape of the losses with the axis of the classes, of one element."""
    return (*checked.shape[: checked.axis], 1, *checked.shape[checked.axis :])


def _row_wise(library: Library, spec: Any, kind: str, axis: int, x: Any) -> Any:
    axis -= len(x.shape)  # JAX and PyTorch map over what is before it
    forward, backward = (partial(way, library, spec, kind, axis) for way in (row_tangent, row_gradient))
    return library.differentiable_rows(partial(row_value, library, spec, kind, axis), RowRule(forward, backward), x)
