"""Packed arrays: x and its gate are halves of one array, behind one another or interleaved, and so is their gradient.

The halves are views, so a call takes one pass over memory and no copy of them.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from ..backends import numpy, registry
from . import arguments, subclasses
from .call import Call
from .specification import Gated

ORDERS = "gate_first", "gate_last", "interleaved"


class Halves(NamedTuple):
    """Where the halves of an array lie: the axis, counted from the first, and an index for each."""

    axis: int
    x: tuple[slice, ...]
    gate: tuple[slice, ...]


def halves(function: str, a: Any, order: Any, axis: Any) -> Halves:
    """Return where the halves of `a` lie.

    Raises
    ------
    TypeError, ValueError
        If `order` is none of `ORDERS`, `axis` is no axis of `a`, or there are no two halves along it.
    """
    if not isinstance(order, str) or order not in ORDERS:
        raise (ValueError if isinstance(order, str) else TypeError)(
            f"{function}: order is {order!r}; it takes 'gate_first', 'gate_last' or 'interleaved', which has the gate "
            "at even places"
        )
    shape = arguments.shape_of(a)
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis is {axis!r}; it takes an integer") from None
    if not -len(shape) <= number < len(shape):
        raise ValueError(f"{function}: axis {number} is out of bounds for an array of {len(shape)} dimensions")
    number %= len(shape)
    side = shape[number]
    if side != side:
        raise ValueError(f"{function}: nobody knows how long a is along axis {number}; call a.compute_chunk_sizes()")
    if side % 2:
        raise ValueError(f"{function}: a has {side} elements along axis {number}; two halves need an even number")
    half = side // 2
    steps = (slice(0, None, 2), slice(1, None, 2)) if order == "interleaved" else (slice(half), slice(half, None))
    before, after = (slice(None),) * number, (slice(None),) * (len(shape) - number - 1)
    first, second = ((*before, step, *after) for step in steps)
    return Halves(number, first, second) if order == "gate_last" else Halves(number, second, first)


found: dict[Any, tuple[Any, Any]] = {}  # the halves of calls before, by order, axis and shape
MOST_FOUND, POOLED = 1024, 1 << 17  # bytes, from which a gradient takes memory of the pool


def _halves(function: str, a: Any, order: Any, axis: Any) -> Halves:
    """Return where the halves of `a` lie, and keep that for the calls like it, which look nowhere else."""
    at = halves(function, a, order, axis)
    if type(a) is np.ndarray and type(axis) is int and type(order) is str:
        if len(found) >= MOST_FOUND:
            found.clear()
        found[order, axis, a.shape] = at.x, at.gate
    return at


def room(a: Any) -> Any:
    """Make an array of NumPy for the gradient of one."""
    return np.empty_like(a) if a.nbytes < POOLED else numpy.empty_like(a, a.dtype)


def value(function: Any, a: Any, order: Any, axis: Any, out: Any, parameters: dict[str, Any]) -> Any:
    """Compute the value of the halves of `a`."""
    spec: Gated = function.spec
    name = f"{spec.name}.packed"
    a = _array(name, a)
    at = _halves(name, a, order, axis)
    operands = {"x": a[at.x], spec.gate: a[at.gate]}
    return registry.compute(Call(function, spec.operations["value"], operands, parameters, out, called=name))


def backward(function: Any, dy: Any, a: Any, order: Any, axis: Any, out: Any, parameters: dict[str, Any]) -> Any:
    """Compute both gradients of the halves of `a`, packed as those are."""
    spec: Gated = function.spec
    name, operation = f"{spec.name}.packed.backward", spec.operations["backward"]
    a = _array(name, a)
    at = _halves(name, a, order, axis)
    backend = registry.serving(dy, a, *parameters.values())
    operands = {"dy": dy, "x": a[at.x], spec.gate: a[at.gate]}
    if "out" not in backend.capabilities:
        both = registry.compute(Call(function, operation, operands, parameters, out, called=name))
        return backend.join(both if order == "gate_last" else both[::-1], at.axis, order == "interleaved")
    gradient = _gradient(name, backend, dy, a, out)
    outs = gradient[at.x], gradient[at.gate]
    registry.compute(Call(function, operation, operands, parameters, outs, called=name))
    return gradient


def _array(function: str, a: Any) -> Any:
    """Make an array of an array-like; refuse those of a library that has no halves."""
    if "packed" not in registry.serving(a).capabilities:
        dense = arguments.to_numpy("a", a)
        raise TypeError(
            f"{function}: a is a {arguments.full_name(type(a))}, whose halves would lose their names; convert it to "
            f"NumPy first{f', by {dense}' if dense else ''}"
        )
    return a if registry.is_other(a) else np.asanyarray(arguments.operand(function, "a", a))


def _gradient(function: str, backend: Any, dy: Any, a: Any, out: Any) -> Any:
    """Return the array that both gradients are written to: `out`, or a new one of the shape of `a`."""
    for name, array in (("dy", dy), ("a", a)):
        if subclasses.is_masked(array):
            raise TypeError(
                f"{function}: {name} hides elements, which one gradient of both halves would not; call "
                f"{function.partition('.')[0]}.backward on the halves"
            )
    if not registry.is_other(dy):
        dy = arguments.operand(function, "dy", dy)
    dtype = arguments.resolve(False, (dy, a))
    if out is None:
        return backend.empty_like(a, dtype)
    kind = type(a) if registry.is_other(a) else np.ndarray
    arguments.require_out(function, ("da",), out, arguments.shape_of(a), dtype, kind)
    return out[0] if isinstance(out, tuple) else out
