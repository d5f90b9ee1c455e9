"""Formulas in the operations of an array library."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...formulas import arrays as array_primitives
from ...formulas import bind, duals
from ...formulas.rows import PARTS, Arrays, exp_of_difference, linear_sum, sum_by_halves
from ...functions import dtypes
from ...functions.specification import DERIVATIVE, Operation, Rowwise, Specification, read
from .library import Library


def compute_formula(
    library: Library,
    spec: Specification,
    operation: Operation,
    dtype: str,
    given: tuple[Any, ...],
    shape: tuple[int, ...],
) -> Any:
    """Compute an operation by its formula, in the working type; round once to the dtype."""
    with library.float64():
        primitives, numbers = _at_work(library, spec, dtype, given)
        results = read(spec, operation, primitives)(*numbers)
        if isinstance(results, tuple):
            return tuple(_rounded(library, result, dtype, shape) for result in results)
        return _rounded(library, results, dtype, shape)


def derivative_at(
    library: Library,
    spec: Specification,
    dtype: str,
    places: tuple[int, ...],
    given: tuple[Any, ...],
    shape: tuple[int, ...],
) -> Any:
    """Compute a derivative of any order, in the working type.

    The formula is of the first derivative. For those of higher order it is given duals, of a level for each.
    """
    with library.float64():
        primitives, numbers = _at_work(library, spec, dtype, given)
        working, T, where = np.dtype(spec.working(dtype)).name, primitives["T"], primitives["where"]
        first, *others = places
        levels = range(1, len(places))
        inputs = list(numbers)
        for level, place in zip(levels, others, strict=True):
            primitives = duals.primitives(primitives, level)
            inputs[place] = duals.Dual(inputs[place], T(1), level)
        d = read(spec, DERIVATIVE, primitives)(*inputs)
        d = d[first] if isinstance(d, tuple) else d
        for level in reversed(levels):
            d = d.slope if isinstance(d, duals.Dual) and d.level == level else T(0)
        for place in others:  # where a formula selects NaN, its derivative would be a number
            d = where(numbers[place] == numbers[place], d, numbers[place])
        return _rounded(library, d, working, shape)


def _at_work(
    library: Library, spec: Specification, dtype: str, given: tuple[Any, ...]
) -> tuple[dict[str, Any], list[Any]]:
    """Return the primitives in the working type, and arrays and numbers in it, each rounded to the dtype before."""
    working = np.dtype(spec.working(dtype)).name
    like = next(array for array in given if library.is_own(array))
    numbers = []
    for value in given:
        if library.is_own(value):
            numbers.append(library.astype(library.astype(value, dtype), working))
        else:
            number = dtypes.cast(np.asarray(value), dtypes.named(dtype)).item()
            numbers.append(library.number(number, working, like))
    return primitives_of(library, working, like, dtype), numbers


def _rounded(library: Library, result: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    return library.xp.broadcast_to(library.astype(result, dtype), shape)


def primitives_of(library: Library, working: str, like: Any, dtype: str = "float64") -> dict[str, Any]:
    """Return the primitives in the working type; numbers are where an array is."""
    kind, bits = np.dtype(working).type, 24 if working == "float32" else 53

    def T(literal: float) -> Any:
        return library.number(kind(literal).item(), working, like)

    return array_primitives.primitives(T, library.xp, array_primitives.fma_of(bits, library.xp), dtype)


def row_value(library: Library, spec: Rowwise, dtype: str, axis: int, x: Any) -> Any:
    """Compute a row-wise value along an axis, in float64; round once to the dtype."""
    xp = library.xp
    with library.float64():
        primitives, x = primitives_of(library, "float64", x), library.astype(x, "float64")
        if not math.prod(x.shape):
            return library.astype(x + primitives["T"](0), dtype)  # PyTorch wants another array
        x = -x if spec.negated else x
        peak = xp.max(x, axis=axis, keepdims=True)
        if spec.each != "exponential":
            arrays = Arrays(xp, library.descending, library.cumulative)
            parts = PARTS[spec.each](arrays, primitives, x, peak, axis)
            e = xp.where(peak == peak, parts, peak)  # a row with NaN is NaN
            return library.astype(bind(spec.value, primitives)(x, peak, e), dtype)
        zero = primitives["T"](0)
        e, rest = _exponentials(library, primitives, x, peak, axis)
        # A row with NaN or inf is NaN, and so is one of nothing but -inf.
        nan = xp.where(xp.abs(peak) < primitives["T"](math.inf), zero, primitives["T"](math.nan))
        of_sum = bind(spec.of_sum, primitives)(rest)
        return library.astype(bind(spec.value, primitives)(x, peak, e, of_sum) + nan, dtype)


def _exponentials(library: Library, primitives: dict[str, Any], x: Any, peak: Any, axis: int) -> tuple[Any, Any]:
    """Compute exp(x - peak), 1 of what is the peak, and its sum less 1."""
    xp, zero, one, top = library.xp, primitives["T"](0), primitives["T"](1), x == peak
    e = bind(exp_of_difference, primitives)(*(xp.where(top, zero, number) for number in (x, peak)))
    tops = xp.sum(xp.where(top, one, zero), axis=axis, keepdims=True)
    return e, sum_by_halves(xp, xp.where(top, zero, e), axis) + (tops - one)


def reduced_value(library: Library, spec: Rowwise, dtype: str, axis: int, x: Any) -> Any:
    """Compute one number for each row along an axis, which stays, in float64; round once to the dtype."""
    with library.float64():
        primitives, x = primitives_of(library, "float64", x), library.astype(x, "float64")
        x = -x if spec.negated else x
        peak = library.xp.max(x, axis=axis, keepdims=True)
        _, rest = _exponentials(library, primitives, x, peak, axis)
        return library.astype(bind(spec.value, primitives)(peak, bind(spec.of_sum, primitives)(rest)), dtype)


def reduced_gradient(library: Library, spec: Rowwise, dtype: str, axis: int, dy: Any, x: Any) -> Any:
    """Compute the gradient of such a function of dy, which has one element along the axis, and x."""
    with library.float64():
        return library.astype(_times_share(library, spec, axis, library.astype(dy, "float64"), x), dtype)


def reduced_tangent(library: Library, spec: Rowwise, dtype: str, axis: int, tangent: Any, x: Any) -> Any:
    """Sum a tangent times the gradient."""
    with library.float64():
        terms = _times_share(library, spec, axis, library.astype(tangent, "float64"), x)
        return library.astype(linear_sum(terms, axis), dtype)


def _times_share(library: Library, spec: Rowwise, axis: int, t: Any, x: Any) -> Any:
    """Multiply with the gradient of each row, which is NaN where the largest x is infinite."""
    primitives, x = primitives_of(library, "float64", x), library.astype(x, "float64")
    x = -x if spec.negated else x
    zero, peak = primitives["T"](0), library.xp.max(x, axis=axis, keepdims=True)
    e, rest = _exponentials(library, primitives, x, peak, axis)
    nan = library.xp.where(library.xp.abs(peak) < primitives["T"](math.inf), zero, primitives["T"](math.nan))
    return bind(spec.backward, primitives)(t, e + nan, bind(spec.weight, primitives)(rest))


def row_gradient(
    library: Library, spec: Rowwise, dtype: str, axis: int, dy: Any, y: Any, add_up: Callable[..., Any] | None = None
) -> Any:
    """Compute the gradient of a row-wise function of dy and y."""
    add_up = add_up or partial(sum_by_halves, library.xp)
    with library.float64():
        primitives = primitives_of(library, "float64", y)
        dy, y = (library.astype(array, "float64") for array in (dy, y))
        weights = bind(spec.weight, primitives)(dy, y)
        sums = [add_up(weight, axis) for weight in (weights if isinstance(weights, tuple) else (weights,))]
        return library.astype(bind(spec.backward, primitives)(dy, y, *sums), dtype)


def row_tangent(library: Library, spec: Rowwise, dtype: str, axis: int, tangent: Any, y: Any) -> Any:
    """Multiply with the Jacobian, of which backward's formulas are the transpose.

    Backward is a dy + b sum(c dy), where a, b and c depend on y alone; so this is a t + c sum(b t). The Jacobian of a
    function that selects is symmetric.
    """
    if spec.each != "exponential":
        return row_gradient(library, spec, dtype, axis, tangent, y, linear_sum)
    with library.float64():
        primitives = primitives_of(library, "float64", y)
        t, y = (library.astype(array, "float64") for array in (tangent, y))
        weight, backward = bind(spec.weight, primitives), bind(spec.backward, primitives)
        zero, one = primitives["T"](0), primitives["T"](1)
        s = linear_sum(backward(zero, y, one) * t, axis)
        return library.astype(backward(one, y, zero) * t + weight(one, y) * s, dtype)
