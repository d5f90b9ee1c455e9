"""Row-wise functions with options, in the operations of an array library: always of float64, and rounded once."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...formulas import bind
from ...formulas.rows import exponential_of_product, linear_sum, of_product, sum_by_halves
from ...functions import arguments, row_options
from ...functions.call import Call
from ...functions.specification import Rowwise
from .formula import primitives_of
from .library import Library, RowRule


class Options(NamedTuple):
    """The options of a call; those of their arrays that are given come behind the others."""

    library: Library
    spec: Rowwise
    dtype: str
    axis: int  # of a row, from the last: what is here is mapped over by JAX and PyTorch
    scale: float
    causal: bool
    names: tuple[str, ...]  # of the arrays that are given behind the others

    def given(self, others: tuple[Any, ...], name: str) -> Any:
        """Return one of the arrays, or None."""
        return dict(zip(self.names, others, strict=True)).get(name)


def compute(library: Library, call: Call, kind: str, axis: int, arrays: tuple[Any, ...], options: Any) -> Any:
    """Compute a call along one axis, counted from the first, of arrays that are all of the library."""
    given = {name: array for name, array in options.arrays.items() if array is not None}
    made = Options(library, call.spec, kind, axis - len(arrays[-1].shape), options.scale, options.causal, tuple(given))  # type: ignore[arg-type]
    others = tuple(given.values())
    if len(call.operation.outputs) > 1:
        return _gradients(made, *arrays, *others)
    if "dy" in call.operands:
        return _gradient(made, *arrays, *others)
    rule = RowRule(partial(_tangent, made), partial(_gradient, made))
    return library.differentiable_rows(partial(_value, made), rule, *arrays, *others)


def checked(
    library: Library, call: Call, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any, like: Any
) -> row_options.RowOptions:
    """Check the options of a call; return them with arrays of the library, where `like` is."""
    options: Any = call.options
    arrays = {name: operand(library, call.name, name, value, like) for name, value in options.arrays.items()}
    return row_options.checked(call.name, options._replace(**arrays), shape, axes, dtype)


def operand(library: Library, function: str, name: str, value: Any, like: Any) -> Any:
    """Return an option that is an array as one of the library, where `like` is; refuse another library's."""
    if library.is_own(value):
        return value
    row_options.require_shown(function, name, value)
    if library.takes_numpy and isinstance(value, np.ndarray):
        return library.xp.asarray(value)
    if name == "where" and isinstance(value, bool | np.bool_):
        return like == like if value else like != like
    if name == "sink" and isinstance(value, int | float | np.generic):
        return library.number(float(arguments.operand(function, name, value)), "float64", like)
    raise TypeError(
        f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has arrays of "
        f"{library.xp.__name__.partition('.')[0]}; it takes one of those, or one number"
    )


def _counts(options: Options, x: Any, others: tuple[Any, ...]) -> Any:
    """Return which elements count, of the shape of x or one that broadcasts to it; None for all."""
    counts = options.given(others, "where")
    if options.causal:
        causal = options.library.causal(x)
        counts = causal if counts is None else causal & counts
    return counts


def _select(library: Library, counts: Any, x: Any, other: Any) -> Any:
    return x if counts is None else library.xp.where(counts, x, other)


def _parts(options: Options, x: Any, others: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the value, in float64, and the sink's share of each row's sum."""
    library, axis = options.library, options.axis
    xp, counts, words = library.xp, _counts(options, x, others), primitives_of(library, "float64", x)
    T = words["T"]
    zero, one, none = T(0), T(1), T(-math.inf)
    scale, nan = T(options.scale), T(math.nan)
    sink = options.given(others, "sink")
    if sink is None:
        sinks = none
    else:
        rounded = library.astype(library.astype(sink, options.dtype), "float64")
        sinks = _beside_rows(library, rounded, x, axis)
    covered = _select(library, counts, x, none)
    number = xp.max(covered, axis=axis, keepdims=True)
    peak = number * scale
    top = xp.where((sinks > peak) | (sinks != sinks), sinks, peak)
    tail = xp.where(top == peak, words["fma"](number, scale, -peak), zero)
    tail = xp.where(tail == tail, tail, zero)
    e = bind(exponential_of_product, words)(covered, scale, top, tail)
    e = xp.where(covered == none, zero, e)
    of_sink = xp.where(sinks == top, one, xp.exp(sinks - top - tail))
    of_sink = xp.where(sinks == none, zero, of_sink)
    ones = xp.sum(xp.where(e == one, one, zero), axis=axis, keepdims=True)
    rest = sum_by_halves(xp, xp.where(e == one, zero, e), axis) + (ones - one) + of_sink
    d = bind(of_product, words)(covered, scale, top, tail)
    y = bind(options.spec.value, words)(d, zero, e, bind(options.spec.of_sum, words)(rest))
    y = y + xp.where(xp.abs(top) < T(math.inf), zero, nan)  # a row with NaN or inf, or of nothing but -inf
    nothing = bind(options.spec.value, words)(none, zero, zero, zero)
    return _select(library, counts, y, nothing), of_sink / (one + rest)


def _beside_rows(library: Library, sink: Any, x: Any, axis: int) -> Any:
    """Return a sink with the axis of a row, of one element."""
    shape = list(np.broadcast_shapes(tuple(sink.shape), (1,) * (len(x.shape) - 1)))
    shape.insert(len(shape) + 1 + axis, 1)
    return library.xp.reshape(sink, tuple(shape))


def _value(options: Options, x: Any, *others: Any) -> Any:
    """Compute the value along an axis, in float64; round once to the dtype."""
    library = options.library
    with library.float64():
        x = library.astype(x, "float64")
        if not math.prod(x.shape):
            return library.astype(x + 0.0, options.dtype)
        return library.astype(_parts(options, x, others)[0], options.dtype)


def _sums(options: Options, dy: Any, y: Any, others: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the primitives, which count, dy and y where they count, and the sum that backward takes, in float64."""
    library = options.library
    words = primitives_of(library, "float64", y)
    counts, zero = _counts(options, y, others), words["T"](0)
    dy, y = (_select(library, counts, library.astype(array, "float64"), zero) for array in (dy, y))
    terms = _select(library, counts, bind(options.spec.weight, words)(dy, y), zero)
    return words, counts, dy, y, sum_by_halves(library.xp, terms, options.axis)


def _gradient(options: Options, dy: Any, y: Any, *others: Any) -> Any:
    """Compute the gradient, of dy and y."""
    library = options.library
    with library.float64():
        words, counts, dy, y, s = _sums(options, dy, y, others)
        dx = words["T"](options.scale) * bind(options.spec.backward, words)(dy, y, s)
        return library.astype(_select(library, counts, dx, words["T"](0)), options.dtype)


def _gradients(options: Options, dy: Any, x: Any, *others: Any) -> tuple[Any, Any]:
    """Compute the gradients by x and by the sink, of dy and x."""
    library = options.library
    y, sink = _value(options, x, *others), options.given(others, "sink")
    dx = _gradient(options, dy, y, *others)
    with library.float64():
        wide = library.astype(x, "float64")
        zero = primitives_of(library, "float64", x)["T"](0)
        *_, s = _sums(options, dy, y, others)
        if not math.prod(x.shape):
            each = s * 0.0
        else:
            _, share = _parts(options, wide, others)
            each = library.xp.where(s == zero, zero, -share * s)
        outer = row_options.outer_shape(tuple(x.shape), (len(x.shape) + options.axis,))
        dsink = library.summed(library.xp.reshape(each, outer), tuple(sink.shape))
        return dx, library.astype(dsink, options.dtype)


def _tangent(options: Options, tangent: Any, y: Any, *others: Any) -> Any:
    """Multiply with the Jacobian, as `formula.row_tangent` does it."""
    library, spec = options.library, options.spec
    with library.float64():
        words = primitives_of(library, "float64", y)
        counts, zero, one = _counts(options, y, others), words["T"](0), words["T"](1)
        t, y = library.astype(tangent, "float64"), _select(library, counts, library.astype(y, "float64"), zero)
        if counts is not None:  # linear in t, of which JAX finds the transpose
            counts = library.xp.broadcast_to(library.xp.where(counts, one, zero), y.shape)
            t = library.times(t, counts)
        weight, backward = bind(spec.weight, words), bind(spec.backward, words)
        s = linear_sum(backward(zero, y, one) * t, options.axis)
        dy = words["T"](options.scale) * (backward(one, y, zero) * t + weight(one, y) * s)
        dy = dy if counts is None else library.times(dy, counts)
        return library.astype(dy, options.dtype)
