"""Tables of functions over dtypes of eight bits and fewer: what an operation gives for every value, or pair of values.

They are made of the formula in float64, whose results are rounded once. Parameters are numbers, as they were given:
eight bits would leave little of them. Where float64 cannot tell which neighbour is nearer, and where a step of a
quantised function may meet a jump, the textbook form decides, in rational numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..formulas import arrays as array_primitives
from . import dtypes
from .specification import VALUE, Elementwise, Operation, read

BYTES = np.arange(256, dtype=np.uint8)
_CLOSE = 2.0**-40  # of a result: more than float64 is ever off by


class Quantization(NamedTuple):
    """How integers stand for numbers: scale * (q - zero_point).

    Attributes
    ----------
    scale, zero_point : float, int
        Of the input.
    out_scale, out_zero_point : float, int
        Of the output.
    """

    scale: float
    zero_point: int
    out_scale: float
    out_zero_point: int


def _aligned(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Copy a table of bytes to the beginning of a cache line; nobody writes to it."""
    room = np.empty(table.size + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy: np.ndarray[Any, Any] = room[start : start + table.size]
    copy[:] = table.ravel()
    copy.flags.writeable = False
    return copy


def _formula(spec: Elementwise, operation: Operation) -> Callable[..., Any]:
    return read(spec, operation, array_primitives.primitives(np.float64, dtype="float64"))


def _round(values: Any, dtype: np.dtype[Any]) -> Any:
    """Round float64 to a dtype as ml_dtypes casts, but once, and see the results as bytes."""
    return dtypes.cast(np.asarray(values, np.float64), dtype).view(np.uint8)


@lru_cache(maxsize=512)
def of_one(spec: Elementwise, operation: Operation, dtype: np.dtype[Any], parameters: tuple[float, ...]) -> Any:
    """Return the table of an operation of one array: 256 bytes, which are results by their bits.

    Of an operation that makes a mask, it is the table of the mask, of bytes that are 0 or 1.
    """
    x = BYTES.view(dtype).astype(np.float64)
    with np.errstate(all="ignore"):
        results = _formula(spec, operation)(x, *map(np.float64, parameters))
        if operation.makes_mask:
            return _aligned(np.broadcast_to(results[1], x.shape).astype(np.uint8))
        y = np.broadcast_to(results, x.shape).astype(np.float64)
        table = _round(y, dtype)
        if operation.name == VALUE.name:
            unclear = np.flatnonzero(_round(y * (1 - _CLOSE), dtype) != _round(y * (1 + _CLOSE), dtype))
            for k in unclear:
                exact = in_rationals(spec, float(x[k]), parameters)
                if exact:  # of 0 the formula knows the sign
                    table[k] = _round(np.array([_to_odd(exact)]), dtype)[0]
    return _aligned(table)


@lru_cache(maxsize=64)
def of_pairs(spec: Elementwise, operation: Operation, dtype: np.dtype[Any], parameters: tuple[float, ...]) -> Any:
    """Return the table of a backward operation: a byte for each dy, row by row for each x, or each bit of a mask."""
    values = BYTES.view(dtype).astype(np.float64)
    other = np.array([[False], [True]]) if operation.reads_mask else values[:, None]
    with np.errstate(all="ignore"):
        return _aligned(_round(_formula(spec, operation)(values[None, :], other, *map(np.float64, parameters)), dtype))


@lru_cache(maxsize=512)
def of_integers(
    spec: Elementwise, dtype: np.dtype[Any], quantization: Quantization, parameters: tuple[float, ...]
) -> Any:
    """Return the table of a function of quantised integers: rounded half to even, and saturated.

    Raises
    ------
    ValueError
        If a result is NaN, which no integer stands for.
    """
    scale, zero_point, out_scale, out_zero_point = quantization
    limits = np.iinfo(dtype)
    steps = [int(q) - zero_point for q in BYTES.view(dtype)]
    with np.errstate(all="ignore"):
        y = _formula(spec, VALUE)(scale * np.array(steps, np.float64), *map(np.float64, parameters))
        y = np.broadcast_to(y, len(steps))
    table = np.empty(256, dtype)
    for k, step in enumerate(steps):
        exact = in_rationals(spec, Fraction(scale) * step, parameters)
        if exact is None and not np.isfinite(y[k]):
            if np.isnan(y[k]):
                raise ValueError(
                    f"{spec.name} is NaN at {scale * step:g} with these parameters; no integer stands for it"
                )
            table[k] = limits.max if y[k] > 0 else limits.min
            continue
        number = Fraction(float(y[k])) if exact is None else exact
        table[k] = min(max(round(number / Fraction(out_scale)) + out_zero_point, limits.min), limits.max)
    return _aligned(table.view(np.uint8))


class _Unknown:
    """What is no rational number that anybody knows: whatever is computed of it is none either."""

    def _itself(self, *others: Any) -> _Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _itself
    __pow__ = __neg__ = __abs__ = _itself

    def _refuse(self, other: Any) -> bool:
        raise ArithmeticError("it decides nothing")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse


_UNKNOWN = _Unknown()


class _Rationals:
    """The mathematics of a textbook form, in rational numbers: at most a point each of the transcendental functions."""

    _POINTS: ClassVar = {"exp": (0, 1), "expm1": (0, 0), "log1p": (0, 0), "log": (1, 0), "tanh": (0, 0), "erf": (0, 0),
               "erfc": (0, 1), "sin": (0, 0)}  # fmt: skip

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return x if condition else y

    def abs(self, x: Any) -> Any:
        return abs(x)

    def sqrt(self, x: Any) -> Any:
        if not isinstance(x, int | Fraction) or x < 0:
            return _UNKNOWN
        root = Fraction(math.isqrt(Fraction(x).numerator), math.isqrt(Fraction(x).denominator))
        return root if root * root == x else _UNKNOWN

    def __getattr__(self, name: str) -> Any:
        if name == "pi":
            return _UNKNOWN
        at, value = self._POINTS.get(name, (None, None))
        return lambda x, *others: Fraction(value) if at is not None and not others and x == at else _UNKNOWN  # type: ignore[arg-type]


def in_rationals(spec: Elementwise, x: float | Fraction, parameters: tuple[float, ...]) -> Fraction | None:
    """Return the value of a function as a rational number; None where its textbook form does not give one."""
    try:
        y = spec.exact(_Rationals(), Fraction(x), *map(Fraction, parameters))
    except (ArithmeticError, TypeError, ValueError):  # of infinities, and of what is unknown
        return None
    return Fraction(y) if isinstance(y, int | Fraction) else None


def _to_odd(number: Fraction) -> float:
    """Round a rational number to float64, what is inexact to the odd neighbour, so that a second rounding is right."""
    near = float(number)
    if not math.isfinite(near) or Fraction(near) == number or np.float64(near).view(np.int64) & 1:
        return near
    return math.nextafter(near, math.inf if number > near else -math.inf)
