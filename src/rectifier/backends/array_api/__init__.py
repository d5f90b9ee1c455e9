"""The calls on arrays of JAX, PyTorch, and any library that follows the Python array API standard.

An array on the CPU whose numbers are there goes to the CPU engine, without a copy where its library and NumPy can share
memory. Any other, also one that is traced, goes through the formula in the operations of its own library, and stays on
its device. Smooth functions are computed in float64, as on the CPU, and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from ...formulas import arrays as array_primitives
from ...formulas import bind
from ...formulas import duals as dual_primitives
from ...formulas.rows import exp_of_difference, sum_by_halves
from ...functions import arguments, define, dtypes
from ...functions.mask import Mask
from ...functions.rowwise import Axis, RowFunction, as_rows, floating, from_rows, require_axes
from ...functions.specification import (
    BACKWARD,
    BACKWARD_TO_BOTH,
    DERIVATIVE,
    VALUE,
    VALUE_AND_DERIVATIVE,
    Block,
    Operation,
    RowBlock,
    read,
)
from .. import registry

MASKS = False
RANK = 0


class Library:
    """A library of arrays: one of which nothing is known but that it follows the standard, unless a class says more.

    Attributes
    ----------
    xp : namespace
        Its functions, by the names of the standard.
    kind : type
        Of its arrays.
    """

    takes_numpy = False  # whether its own functions take NumPy's arrays beside its own

    def __init__(self, xp: Any, kind: type) -> None:
        self.xp, self.kind = xp, kind

    def is_own(self, value: Any) -> bool:
        """Say whether a value is an array of it."""
        return isinstance(value, self.kind)

    def is_plain(self, array: Any) -> bool:
        """Say whether NumPy can see an array's numbers now: it lies on the CPU, and nobody traces or differentiates."""
        try:
            self.to_numpy(array)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
            return False
        return True

    def to_numpy(self, array: Any) -> Any:
        """See a plain array as NumPy's."""
        return np.from_dlpack(array)

    def from_numpy(self, array: Any) -> Any:
        """Make an array of the library of NumPy's, which nobody else has."""
        return self.xp.from_dlpack(array)

    def require_dense(self, function: str, name: str, array: Any) -> None:
        """Refuse an array that has another layout than an array's."""

    def advice(self, dtype: str, name: str) -> str:
        """Tell what to do with an array of the library, of a dtype that has no row in the table."""
        try:
            return dtypes.advice(np.dtype(dtype), name)
        except TypeError:
            return f"cast {name} to one of those"

    def entry(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Give a call as the library's compiler is to see it."""
        return call

    def float64(self) -> AbstractContextManager[Any]:
        """Give a context in which the library computes in float64."""
        return nullcontext()

    def result(self, name: str) -> str:
        """Give the dtype of a result for that of NumPy's."""
        return name

    def astype(self, array: Any, name: str) -> Any:
        """Cast to the dtype of a name."""
        return self.xp.astype(array, getattr(self.xp, name), copy=False)

    def number(self, value: float, name: str, like: Any) -> Any:
        """Make a number, of the dtype of a name, that broadcasts with another array and is where that is.

        Of what the standard has, `full_like` alone makes an array with the settings of another: its device, the
        directory and the memory of Cubed, or what else a library has. The array is cut down to one element first.
        """
        first = like[tuple(slice(min(side, 1)) for side in like.shape)]
        return self.xp.full_like(first, value, dtype=getattr(self.xp, name))

    def differentiable(self, value: Callable[..., Any], rule: Rule, *arrays: Any) -> Any:
        """Compute ``value(*arrays)`` such that the library differentiates it by our rule."""
        return value(*arrays)

    def differentiable_rows(self, value: Callable[..., Any], rule: RowRule, x: Any) -> Any:
        """Compute a row-wise ``value(x)`` such that the library differentiates it by our rule."""
        return value(x)


@dataclass(frozen=True)  # and no tuple, which PyTorch would take apart
class Rule:
    """How a value is differentiated, any number of times.

    Attributes
    ----------
    function : str
    derivative : callable
        Of a tuple of places and the arrays of the call: the derivative by the array at the first place, of which that
        by the array at the second, and so on; in the working type.
    times : callable
        Of t, such a tuple and the arrays: t times that derivative, 0 where it is 0, whatever t is; rounded once.
    backward : callable
        Of dy and the arrays of the call: the gradients by those that have one, in one pass and of their shapes.
    parameters : tuple of str
        Names of the last arrays, by which there is no derivative.
    places : tuple of int
        Of which derivative it is the rule: none of the value itself.
    """

    function: str
    derivative: Callable[..., Any]
    times: Callable[..., Any]
    backward: Callable[..., tuple[Any, ...]]
    parameters: tuple[str, ...] = ()
    places: tuple[int, ...] = ()

    def by(self, place: int) -> Rule:
        """Return the rule of the derivative by the array at a place."""
        return replace(self, places=(*self.places, place))

    def refuse(self, wanted: Iterable[bool]) -> None:
        """Raise TypeError if a derivative is wanted by a parameter: a question for each array of the call."""
        asked = list(wanted)
        last = asked[len(asked) - len(self.parameters) :]
        names = [name for name, yes in zip(self.parameters, last, strict=True) if yes]
        if names:
            raise TypeError(f"{self.function} has no derivative by {', '.join(names)}; prelu has one by its slope")


@dataclass(frozen=True)
class RowRule:
    """How a row-wise value y is differentiated, in the operations of its library.

    Attributes
    ----------
    forward : callable
        Of a operation and y: the Jacobian times the operation.
    backward : callable
        Of dy and y: its transpose times dy.
    """

    forward: Callable[[Any, Any], Any]
    backward: Callable[[Any, Any], Any]


def _library_of(kind: Any) -> Any:
    """Give what is known of the library of a type: its own module here, or None to ask an array for its namespace."""
    for ancestor in kind.__mro__:
        root = ancestor.__module__.partition(".")[0]
        name = {"jax": "jax", "jaxlib": "jax", "torch": "torch"}.get(root)
        if name:
            return import_module(f".{name}", __name__).LIBRARY
    return None


def _library(values: tuple[Any, ...]) -> Library:
    array = next(value for value in values if registry.backend(value) is not None)
    kind = type(array)
    if kind not in _libraries:
        _libraries[kind] = _library_of(kind) or Library(array.__array_namespace__(), kind)
    return _libraries[kind]


_libraries: dict[type, Library] = {}


def call(
    block: Block,
    operation: Operation,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...],
) -> Any:
    """Compute a operation without a mask."""
    library = _library((*arrays, *values))
    return library.entry(_call)(library, block, operation, arrays, out, values, names)


def _call(
    library: Library,
    block: Block,
    operation: Operation,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...],
) -> Any:
    function = block.named(operation)
    arrays, values, names = block.regrouped(arrays, values, names)
    arguments.refuse_out(function, out, (*arrays, *values))
    operands, parameters, dtype = _checked(function, library, block, names, arrays, values)
    shapes = [np.shape(array) for array in operands]
    shape = arguments.broadcast(function, (*names, *block.parameters), (*operands, *parameters))
    given = (*operands, *parameters)
    if _is_plain(library, given):
        return _on_cpu(library, block, operation, given)
    if operation is VALUE:
        return _differentiable(library, block, dtype, given, shape, len(operands))
    if operation is VALUE_AND_DERIVATIVE:
        return tuple(_call(library, block, one, arrays, None, values, names) for one in (VALUE, DERIVATIVE))
    results = _formula(library, block, operation, dtype, given, shape)
    if block.gated:
        results = tuple(summed(library, g, s) for g, s in zip(results, shapes[-2:], strict=True))
    return results


def _is_plain(library: Library, given: tuple[Any, ...]) -> bool:
    return all(library.is_plain(array) for array in given if library.is_own(array))


def _compute(
    library: Library, block: Block, operation: Operation, dtype: str, given: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """Compute a operation: by the CPU engine where it can see the numbers, else by the formula."""
    if _is_plain(library, given):
        return _on_cpu(library, block, operation, given)
    return _formula(library, block, operation, dtype, given, shape)


def _checked(
    function: str,
    library: Library,
    block: Block,
    names: tuple[str, ...],
    arrays: tuple[Any, ...],
    values: tuple[Any, ...],
) -> tuple[list[Any], list[Any], str]:
    """Give the operands, the parameters and the name of the dtype of the result."""
    operands = [_operand(function, library, name, array) for name, array in zip(names, arrays, strict=True)]
    settings = dict(zip(block.parameters, values, strict=False))  # a gated block's stand among the arrays
    parameters = [_operand(function, library, name, value) for name, value in settings.items()]
    stand_ins = [_stand_in(function, library, name, array) for name, array in zip(names, operands, strict=True)]
    dtype = arguments.holding(
        arguments.resolve(block, stand_ins),
        tuple(_stand_in(function, library, name, value) for name, value in zip(settings, parameters, strict=True)),
    )
    for name, value in zip(settings, parameters, strict=True):
        if not library.is_own(value):
            arguments.fitting(function, name, value, dtype)
    return operands, parameters, library.result(dtype.name)


def _operand(function: str, library: Library, name: str, value: Any) -> Any:
    if library.is_own(value) or arguments.is_python_number(value):
        library.require_dense(function, name, value)
        return value
    arguments.refuse_masked(function, name, value)
    if library.takes_numpy and isinstance(value, np.ndarray):
        return library.xp.asarray(value)
    if registry.backend(value) is None and isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        return arguments.operand(function, name, value)[()]
    library_name = library.xp.__name__.partition(".")[0]
    dense = arguments.to_numpy(name, value) if registry.backend(value) is not None else None
    how = dense or f"{library_name}'s asarray"
    raise TypeError(
        f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has arrays of {library_name}; "
        f"it takes those and numbers: make one of it by {how}, "
        "or take all to NumPy"
    )


def _stand_in(function: str, library: Library, name: str, value: Any) -> Any:
    """Give an empty array of NumPy with the dtype of another library's, from which the dtype of the result follows."""
    if not hasattr(value, "dtype") or isinstance(value, np.generic):
        return value
    text = str(value.dtype).rpartition(".")[2]
    try:
        dtype = dtypes.named(text)
        dtypes.require_real(dtype, name, function)
    except ImportError:
        raise TypeError(f"{function}: {name} is bfloat16, which needs ml_dtypes: pip install ml_dtypes") from None
    except TypeError:
        raise TypeError(
            f"{function}: {name} has dtype {value.dtype}; it takes integers and float16 to float64: "
            f"{library.advice(text, name)}"
        ) from None
    return np.empty((0,), dtype)


def _on_cpu(library: Library, block: Block, operation: Operation, given: tuple[Any, ...]) -> Any:
    """Let the CPU engine compute, on the memory of the arrays."""
    numbers = [library.to_numpy(array) if library.is_own(array) else array for array in given]
    function: Any = define.of(block)
    method = function if operation is VALUE else getattr(function, operation.name)
    last = len(numbers) if block.gated else len(operation.inputs)
    results = method(*numbers[:last], **dict(zip(block.parameters, numbers[last:], strict=False)))
    if isinstance(results, tuple):
        return tuple(library.from_numpy(np.asarray(result)) for result in results)
    return library.from_numpy(np.asarray(results))


def _formula(
    library: Library,
    block: Block,
    operation: Operation,
    dtype: str,
    given: tuple[Any, ...],
    shape: tuple[int, ...],
) -> Any:
    """Compute a operation by its formula, in the working type; round once to the dtype."""
    with library.float64():
        primitives, numbers = _at_work(library, block, dtype, given)
        results = read(block, operation, primitives)(*numbers)
        if isinstance(results, tuple):
            return tuple(_rounded(library, result, dtype, shape) for result in results)
        return _rounded(library, results, dtype, shape)


def _derivative_at(
    library: Library, block: Block, dtype: str, places: tuple[int, ...], given: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """Compute a derivative of any order, in the working type.

    The formula is of the first derivative. For those of higher order it is given duals, of a level for each.
    """
    with library.float64():
        primitives, numbers = _at_work(library, block, dtype, given)
        working, T, where = np.dtype(block.working(dtype)).name, primitives["T"], primitives["where"]
        first, *others = places
        levels = range(1, len(places))
        duals = list(numbers)
        for level, place in zip(levels, others, strict=True):
            primitives = dual_primitives.primitives(primitives, level)
            duals[place] = dual_primitives.Dual(duals[place], T(1), level)
        d = read(block, DERIVATIVE, primitives)(*duals)
        d = d[first] if isinstance(d, tuple) else d
        for level in reversed(levels):
            d = d.slope if isinstance(d, dual_primitives.Dual) and d.level == level else T(0)
        for place in others:  # where a formula selects NaN, its derivative would be a number
            d = where(numbers[place] == numbers[place], d, numbers[place])
        return _rounded(library, d, working, shape)


def _at_work(library: Library, block: Block, dtype: str, given: tuple[Any, ...]) -> tuple[dict[str, Any], list[Any]]:
    """Return the primitives in the working type, and arrays and numbers in it, each rounded to the dtype before."""
    working = np.dtype(block.working(dtype)).name
    like = next(array for array in given if library.is_own(array))
    numbers = []
    for value in given:
        if library.is_own(value):
            numbers.append(library.astype(library.astype(value, dtype), working))
        else:
            number = dtypes.cast(np.asarray(value), dtypes.named(dtype)).item()
            numbers.append(library.number(number, working, like))
    return _primitives(library, working, like, dtype), numbers


def _rounded(library: Library, result: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    return library.xp.broadcast_to(library.astype(result, dtype), shape)


def _primitives(library: Library, working: str, like: Any, dtype: str = "float64") -> dict[str, Any]:
    kind, bits = np.dtype(working).type, 24 if working == "float32" else 53

    def T(literal: float) -> Any:
        return library.number(kind(literal).item(), working, like)

    return array_primitives.primitives(T, library.xp, array_primitives.fma_of(bits, library.xp), dtype)


def _differentiable(
    library: Library, block: Block, dtype: str, given: tuple[Any, ...], shape: tuple[int, ...], operands: int
) -> Any:
    """Compute a value such that its library differentiates it by our rule."""
    places = [place for place, array in enumerate(given) if library.is_own(array)]

    def filled(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        every = list(given)
        for place, array in zip(places, arrays, strict=True):
            every[place] = array
        return tuple(every)

    def value(*arrays: Any) -> Any:
        return _compute(library, block, VALUE, dtype, filled(arrays), shape)

    def derivative(order: tuple[int, ...], *arrays: Any) -> Any:
        return _derivative_at(library, block, dtype, tuple(places[place] for place in order), filled(arrays), shape)

    def times(t: Any, order: tuple[int, ...], *arrays: Any) -> Any:
        every = filled(arrays)
        if len(order) == 1 and not block.gated and _is_plain(library, (t, *every)):
            return _on_cpu(library, block, BACKWARD, (t, *every))
        d = derivative(order, *arrays)
        wide = library.astype(t, np.dtype(block.working(dtype)).name)
        return library.astype(library.xp.where(d == 0, 0 * d, wide * d), dtype)

    def backward(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        every = (dy, *filled(arrays))
        if block.gated:  # the engine sums to the shapes that it sees
            every = tuple(library.xp.broadcast_to(a, shape) if library.is_own(a) else a for a in every)
        operation = BACKWARD_TO_BOTH if block.gated else BACKWARD
        found = _compute(library, block, operation, dtype, every, shape)
        found = found if isinstance(found, tuple) else (found,)
        own = [found[place] for place in places if place < operands]
        return tuple(summed(library, g, np.shape(a)) for g, a in zip(own, arrays, strict=False))

    without = tuple([*block.parameters][place - operands] for place in places if place >= operands)
    rule = Rule(block.name, derivative, times, backward, without)
    return library.differentiable(value, rule, *(given[place] for place in places))


def summed(library: Library, gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient to the shape of its array."""
    axes = arguments.broadcast_axes(gradient.shape, shape)
    return library.xp.reshape(library.xp.sum(gradient, axis=axes, keepdims=True), shape) if axes else gradient


def rowwise(function: RowFunction, backward: bool, arrays: tuple[Any, ...], out: Any, axis: Axis) -> Any:
    """Compute the value of x, or the gradient of dy and y, of rows along one or several axes."""
    library = _library(arrays)
    return library.entry(_rowwise)(library, function, backward, arrays, out, axis)


def _rowwise(
    library: Library, function: RowFunction, backward: bool, arrays: tuple[Any, ...], out: Any, axis: Axis
) -> Any:
    name = f"{function.__name__}.backward" if backward else function.__name__
    names = ("dy", "y") if backward else ("x",)
    arguments.refuse_out(name, out, arrays)
    operands = [_operand(name, library, what, array) for what, array in zip(names, arrays, strict=True)]
    axes = require_axes(name, operands[-1], axis)
    if backward and np.shape(operands[0]) != np.shape(operands[1]):
        raise ValueError(f"{name}: dy has shape {np.shape(operands[0])}, y {np.shape(operands[1])}")
    stand_ins = [_stand_in(name, library, what, array) for what, array in zip(names, operands, strict=True)]
    dtype = library.result(floating(*(getattr(array, "dtype", array) for array in stand_ins)).name)
    if _is_plain(library, tuple(operands)):
        numbers = [library.to_numpy(array) if library.is_own(array) else array for array in operands]
        result = function.backward(numbers[0], y=numbers[1], axis=axes) if backward else function(*numbers, axis=axes)
        return library.from_numpy(np.asarray(result))
    like = next(array for array in operands if library.is_own(array))
    operands = [a if library.is_own(a) else library.number(float(a), dtype, like) for a in operands]
    if len(axes) != 1:
        how = library.xp.permute_dims, library.xp.reshape
        rows = tuple(as_rows(array, axes, *how) for array in operands)
        return from_rows(_rowwise(library, function, backward, rows, None, -1), axes, np.shape(like), *how)
    (place,) = axes
    if backward:
        return _row_gradient(library, function.block, dtype, place, *operands)

    def value(x: Any) -> Any:
        return _row_value(library, function.block, dtype, place, x)

    rule = RowRule(*(partial(way, library, function.block, dtype, place) for way in (_row_direction, _row_gradient)))
    return library.differentiable_rows(value, rule, *operands)


def _row_value(library: Library, block: RowBlock, dtype: str, axis: int, x: Any) -> Any:
    xp = library.xp
    with library.float64():
        primitives, x = _primitives(library, "float64", x), library.astype(x, "float64")
        if not math.prod(x.shape):
            return library.astype(x + primitives["T"](0), dtype)  # PyTorch wants another array
        peak = xp.max(x, axis=axis, keepdims=True)
        zero, one, top = primitives["T"](0), primitives["T"](1), x == peak
        e = bind(exp_of_difference, primitives)(*(xp.where(top, zero, number) for number in (x, peak)))
        tops = xp.sum(xp.where(top, one, zero), axis=axis, keepdims=True)
        rest = sum_by_halves(library.xp, xp.where(top, zero, e), axis) + (tops - one)
        # A row with NaN or inf is NaN, and so is one of nothing but -inf.
        nan = xp.where(xp.abs(peak) < primitives["T"](math.inf), zero, primitives["T"](math.nan))
        return library.astype(bind(block.value, primitives)(x, peak, e, rest) + nan, dtype)


def _row_gradient(library: Library, block: RowBlock, dtype: str, axis: int, dy: Any, y: Any) -> Any:
    with library.float64():
        primitives = _primitives(library, "float64", y)
        dy, y = (library.astype(array, "float64") for array in (dy, y))
        s = sum_by_halves(library.xp, bind(block.weight, primitives)(dy, y), axis)
        return library.astype(bind(block.backward, primitives)(dy, y, s), dtype)


def _row_direction(library: Library, block: RowBlock, dtype: str, axis: int, operation: Any, y: Any) -> Any:
    """Multiply with the Jacobian, of which backward's formulas are the transpose.

    Backward is a dy + b sum(c dy), where a, b and c depend on y alone; so this is a t + c sum(b t).
    """
    with library.float64():
        primitives = _primitives(library, "float64", y)
        t, y = (library.astype(array, "float64") for array in (operation, y))
        weight, backward = bind(block.weight, primitives), bind(block.backward, primitives)
        zero, one = primitives["T"](0), primitives["T"](1)
        s = sum_by_halves(library.xp, backward(zero, y, one) * t, axis)
        return library.astype(backward(one, y, zero) * t + weight(one, y) * s, dtype)


def with_mask(block: Block, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Refuse: a library that differentiates keeps what it needs itself."""
    raise _no_masks(f"{block.name}.with_mask", x)


def backward_from_mask(block: Block, dy: Any, out: Any, mask: Mask, values: tuple[Any, ...]) -> Any:
    """Refuse, as `with_mask` does."""
    raise _no_masks(f"{block.name}.backward", dy)


def _no_masks(function: str, array: Any) -> TypeError:
    return TypeError(
        f"{function}: masks are for arrays of NumPy, CuPy and Dask, and this is a {arguments.full_name(type(array))}; "
        "use vjp, which keeps x, or backward(dy, x)"
    )


def kept(value: Any) -> Any:
    """Give a parameter as it is now."""
    library = _library((value,))
    return library.xp.asarray(value, copy=True)


def may_share_memory(a: Any, b: Any) -> bool:
    """Say that no result is written to such an array."""
    return False
