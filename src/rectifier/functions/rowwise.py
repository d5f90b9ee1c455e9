"""Row-wise functions: what their blocks become, and their calls on anything that a user may pass.

Rows lie along an axis of any array, or along several, whose elements make one row. The kernels take contiguous rows, so
along other axes than the last, or in another dtype or layout, an array is copied first.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..backends import registry
from ..backends.cupy import source_of
from ..engine import ufuncs
from ..engine.calls import takes_nothing
from ..engine.rows import RowMethod
from ..formulas.text import describe
from . import arguments, docstrings, dtypes, subclasses
from .specification import PACKAGE, RowBlock

Axis = int | tuple[int, ...] | None


class RowFunction:
    """A row-wise function: a block in the making, then what is called.

    Attributes
    ----------
    block : RowBlock
    """

    def __init__(self, value: Callable[..., Any], exact: Callable[..., Any], ulp: tuple[float, float]) -> None:
        of_catalogue = value.__module__.startswith(f"{PACKAGE}.catalogue.")
        self.__name__ = self.__qualname__ = value.__name__
        self.__module__ = PACKAGE if of_catalogue else value.__module__
        self._parts: dict[str, Callable[..., Any]] = {"value": value}
        self._exact, self._ulp = exact, ulp
        self.methods: dict[bool, RowMethod] = {}
        self._value: Any = takes_nothing
        self._gradient: Any = takes_nothing
        self.block: Any = None
        self.cuda_source: Any = None

    def weight(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """Take the formula of what backward sums along a row, of dy and y: a decorator."""
        self._parts["weight"] = formula
        return formula

    def backward(self, *arguments: Any, **keywords: Any) -> Any:
        """Take the formula of the gradient, of dy, y and the sum: a decorator. Then, compute it."""
        if self.block is not None:
            if len(arguments) == 1 and len(keywords) == 1 and "y" in keywords:
                dx = self._gradient(arguments[0], keywords["y"], None)
                if dx is not NotImplemented:
                    return dx
            return backward(self, *arguments, **keywords)
        (formula,) = arguments
        self._parts["backward"] = formula
        for part in self._parts.values():
            describe(part)
        self.block = RowBlock(name=self.__name__, exact=self._exact, ulp=self._ulp, **self._parts)
        self.methods = {
            backward: RowMethod(self.block, backward, partial(setattr, self, "_gradient" if backward else "_value"))
            for backward in (False, True)
        }
        self.__doc__, self.cuda_source = docstrings.rowwise(self.block), source_of(self.block)
        return formula

    def __call__(self, x: Any, out: Any = None, *, axis: Axis = -1) -> Any:
        """Apply the function along one or several axes."""
        if axis == -1:
            y = self._value(x, out)
            if y is not NotImplemented:
                return y
        return call(self, x, out, axis)

    def vjp(self, x: Any, out: Any = None, *, axis: Axis = -1) -> tuple[Any, Callable[..., Any]]:
        """Compute the value, and the function that takes dy to dx; it keeps `x`."""
        if arguments.may_share_memory(out, x):
            raise ValueError(f"{self.__name__}.vjp: out would overwrite x, which the backward call needs")
        return self(x, out, axis=axis), partial(self.backward, x=x, axis=axis)

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return f"<row-wise function {self.__name__}>"

    def prepare(self, dtype: np.dtype[Any]) -> int:
        """Compile or load both operations in a dtype; return how many of them are compiled."""
        if dtype.name not in dtypes.FLOATS:  # what else there is becomes one of these
            return 0
        return sum(method.prepare(dtype) for method in self.methods.values())


def rowwise(*, exact: Callable[..., Any], ulp: tuple[float, float]) -> Callable[[Callable[..., Any]], RowFunction]:
    """Make a row-wise function of a formula: the decorator of a row-wise block.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x)``, of an array of rows along its last axis, with ``m.exp`` and ``m.log``.
    ulp : two floats
        Largest error in units in the last place, in float32 and in float64, of rows of any length; of a gradient, in
        units of the larger of the sum of its terms' magnitudes and the largest gradient of the row.

    Returns
    -------
    decorator
        It takes the formula, of x, of the largest x in its row, of e = exp(x - peak), and of the sum of e along the
        row, less 1: where one x stands out, what is left would be lost in the sum.
    """
    return lambda formula: RowFunction(formula, exact, ulp)


def _array(name: str, what: str, array: Any) -> Any:
    """Check one operand, and make an array of it; a Python number stays, since it adapts to the dtype of the others."""
    if arguments.is_foreign(array):
        kind = arguments.full_name(type(array))
        dense = arguments.to_numpy(what, array)
        how = f", by {dense}" if dense else ""
        raise TypeError(f"{name} takes NumPy arrays, and {what} is a {kind}; convert to NumPy first{how}")
    operand = arguments.operand(name, what, array)
    return operand if arguments.is_python_number(operand) else np.asanyarray(operand)


def require_axes(name: str, array: Any, axis: Any) -> tuple[int, ...]:
    """Return the axes along which a row lies, counted from the first and in their order.

    None stands for all of them. An array without dimensions is one row, and takes 0 and -1 as NumPy's reductions do.
    """
    dimensions = len(arguments.shape_of(array))
    if axis is None:
        return tuple(range(dimensions))
    try:
        numbers = [operator.index(number) for number in (axis if isinstance(axis, tuple) else (axis,))]
    except TypeError:
        raise TypeError(f"{name}: axis is {axis!r}; it takes an integer, a tuple of integers, or None") from None
    if dimensions == 0 and not isinstance(axis, tuple) and numbers[0] in (0, -1):
        return ()
    for number in numbers:
        if not -dimensions <= number < dimensions:
            raise ValueError(f"{name}: axis {number} is out of bounds for an array of {dimensions} dimensions")
    axes = sorted({number % dimensions for number in numbers})
    if len(axes) < len(numbers):
        raise ValueError(f"{name}: axis {axis} names an axis twice")
    return tuple(axes)


def as_rows(
    array: Any,
    axes: tuple[int, ...],
    permute: Callable[..., Any] = np.transpose,
    reshape: Callable[..., Any] = np.reshape,
) -> Any:
    """Move axes to the end, and make one of them unless they are one: the row; of no axes it is one element."""
    moved = permute(array, _order(array.ndim, axes))
    if len(axes) == 1:
        return moved
    rest = array.ndim - len(axes)
    return reshape(moved, (*moved.shape[:rest], math.prod(moved.shape[rest:])))


def from_rows(
    rows: Any,
    axes: tuple[int, ...],
    shape: tuple[int, ...],
    permute: Callable[..., Any] = np.transpose,
    reshape: Callable[..., Any] = np.reshape,
) -> Any:
    """Undo `as_rows` of an array of a shape."""
    order = _order(len(shape), axes)
    moved = rows if len(axes) == 1 else reshape(rows, tuple(shape[k] for k in order))
    return permute(moved, tuple(order.index(k) for k in range(len(shape))))


def _order(dimensions: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return (*(k for k in range(dimensions) if k not in axes), *axes)


def floating(*arrays: Any) -> np.dtype[Any]:
    """Promote dtypes, integers as ``np.exp`` does."""
    dtype = np.result_type(*arrays)
    if dtype.kind in "iu":
        dtype = np.dtype(np.exp.resolve_dtypes((dtype, None))[1].type)
    return np.dtype(dtype.type) if dtype.name != "bfloat16" else dtype


def _lay(array: Any, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Give an array with its rows along the last axis, contiguous, aligned and native."""
    moved = as_rows(np.asarray(array), axes)
    cast = moved if moved.dtype == dtype else dtypes.cast(moved, dtype)
    return np.require(cast, requirements=["C", "A"])


def _run(function: RowFunction, backward: bool, name: str, inputs: list[Any], out: Any, axis: Any, output: str) -> Any:
    from ..engine import memory

    axes = require_axes(name, inputs[-1], axis)
    dtype = floating(*([array.dtype for array in inputs if hasattr(array, "dtype")] or inputs))
    inputs = [np.asanyarray(array) for array in inputs]
    shape = inputs[0].shape
    own: Any = out
    if out is not None:
        arguments.require_out(name, (output,), out, shape, dtype)
        subclasses.require_mask_in_out(name, dict(zip(("dy", "y") if backward else ("x",), inputs, strict=True)), out)
        own = out[0] if isinstance(out, tuple) else out
    rows = [_lay(array, axes, dtype) for array in inputs]
    hides = subclasses.hidden(shape, *inputs)
    if hides is not None:  # what is hidden counts nothing: exp(-inf) is 0, and so is a product with 0
        covered = as_rows(hides, axes)
        rows = [np.where(covered, dtype.type(0 if backward else -np.inf), array) for array in rows]
    target = None if own is None else np.asarray(own)
    given: Any = None if target is None else as_rows(target, axes)
    direct = given is not None and given.flags.c_contiguous and given.flags.aligned and given.dtype.isnative
    direct = direct and np.may_share_memory(given, target)  # to make one axis of several may take a copy
    if direct:
        direct = not any(np.may_share_memory(given, a) and a.ctypes.data != given.ctypes.data for a in rows)
    result: Any = given if direct else memory.empty_like(rows[0])
    if result.size:
        function.methods[backward].compute(*(dtypes.canonical(array, dtype) for array in (*rows, result)))
    if hides is not None:  # a row of which all is hidden is NaN
        np.copyto(result, 0, where=covered)
    made = from_rows(result, axes, shape)
    if target is not None and not direct:
        target[...] = made
    return subclasses.answered(made, own, inputs, hides)


def call(function: RowFunction, x: Any, out: Any, axis: Axis) -> Any:
    """Compute the value along one or several axes."""
    if served := registry.backend(x):
        return served.rowwise(function, False, (x,), out, axis)
    name = function.__name__
    ufuncs.register_bfloat16()
    return _run(function, False, name, [_array(name, "x", x)], out, axis, "y")


def backward(function: RowFunction, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, axis: Axis = -1) -> Any:
    """Compute dx from dy and x, or sooner from dy and y, without the Jacobian."""
    name = f"{function.__name__}.backward"
    ufuncs.register_bfloat16()
    if (x is None) == (y is None):
        raise TypeError(f"{name} takes dy and one of x, y; it got {'both' if x is not None else 'neither'}")
    if y is None:
        y = call(function, x, None, axis)
    if served := registry.backend(dy, y):
        return served.rowwise(function, True, (dy, y), out, axis)
    dy, y = _array(name, "dy", dy), _array(name, "y", y)
    if np.shape(dy) != np.shape(y):
        raise ValueError(f"{name}: dy has shape {np.shape(dy)}, {'y' if x is None else 'x'} {np.shape(y)}")
    return _run(function, True, name, [dy, y], out, axis, "dx")
