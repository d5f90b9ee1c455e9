"""Tables of functions over dtypes of eight bits and fewer: what an operation gives for every value, or pair of values.

They are made of the formula in float64, whose results are rounded once. Parameters are numbers, as they were given:
eight bits would leave little of them. Where float64 cannot tell which of two neighbours is nearer, the textbook form
decides, to 120 digits; and for quantised integers always, where it is rational, as a step may meet a jump.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas.duals import Dual
from ..formulas.precise import PRECISE, RATIONAL, Number, rational
from . import dtypes
from .specification import BACKWARD, DERIVATIVE, VALUE, Elementwise, Operation, read

BYTES = np.arange(256, dtype=np.uint8)
_CLOSE = 2.0**-40  # of a result: more than float64 is ever off by
_NEAR = 1e-9  # of a step of quantised results, likewise


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
        for k in _unclear(y, dtype):
            both = in_numbers(PRECISE, spec, x[k], parameters)
            _decide(table, k, y, both and {VALUE.name: both[0], DERIVATIVE.name: both[1]}[operation.name], dtype)
    return _aligned(table)


@lru_cache(maxsize=64)
def of_pairs(spec: Elementwise, operation: Operation, dtype: np.dtype[Any], parameters: tuple[float, ...]) -> Any:
    """Return the table of a backward operation: a byte for each dy, row by row for each x, or each bit of a mask."""
    dy = BYTES.view(dtype).astype(np.float64)
    x = np.array([False, True]) if operation.reads_mask else dy
    with np.errstate(all="ignore"):
        dx = _formula(spec, operation)(dy[None, :], x[:, None], *map(np.float64, parameters))
        table = _round(dx, dtype)
        slopes: dict[int, Fraction | None] = {}
        for k in _unclear(dx, dtype) if operation.name == BACKWARD.name else ():
            row, column = divmod(int(k), len(dy))
            if row not in slopes:
                both = in_numbers(PRECISE, spec, x[row], parameters)
                slopes[row] = both and both[1]
            slope = slopes[row]
            _decide(table.reshape(-1), k, dx.reshape(-1), slope and slope * Fraction(dy[column]), dtype)
    return _aligned(table)


def _unclear(y: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return where numbers are so near to the middle between two of a dtype that float64 may be on the wrong side."""
    return np.flatnonzero(_round(y * (1 - _CLOSE), dtype) != _round(y * (1 + _CLOSE), dtype))


def _decide(table: Any, k: Any, y: Any, exact: Fraction | None, dtype: np.dtype[Any]) -> None:
    """Round what is known exactly, if it is what the formula gives: at a kink the textbook form may have another slope.

    A zero stays what it is, as the formula knows its sign.
    """
    if exact and math.isclose(exact, y[k], rel_tol=2 * _CLOSE):
        table[k] = _round(np.array([_to_odd(exact)]), dtype)[0]


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
        if np.isnan(y[k]):
            raise ValueError(f"{spec.name} is NaN at {scale * step:g} with these parameters; no integer stands for it")
        x, ratio = Fraction(scale) * step, float(y[k]) / out_scale
        both = in_numbers(RATIONAL, spec, x, parameters)
        if both is None and abs(ratio) < 512 and abs(abs(ratio % 1) - 0.5) < _NEAR:
            both = in_numbers(PRECISE, spec, x, parameters)
        if both is None and not np.isfinite(y[k]):
            table[k] = limits.max if y[k] > 0 else limits.min
            continue
        number = Fraction(float(y[k])) if both is None else both[0]
        table[k] = min(max(round(number / Fraction(out_scale)) + out_zero_point, limits.min), limits.max)
    return _aligned(table.view(np.uint8))


def in_numbers(
    mathematics: Any, spec: Elementwise, x: float | Fraction, parameters: tuple[float, ...]
) -> tuple[Fraction, Fraction] | None:
    """Return value and slope of a function by its textbook form; None where that has none, as of infinities."""
    try:
        y = Dual.of(spec.exact(mathematics, Dual(Number(x), Number(1)), *map(Number, parameters)))
        return rational(y.number), rational(y.slope)
    except (ArithmeticError, TypeError, ValueError):
        return None


def _to_odd(number: Fraction) -> float:
    """Round a rational number to float64, what is inexact to the odd neighbour, so that a second rounding is right."""
    near = float(number)
    if not math.isfinite(near) or Fraction(near) == number or np.float64(near).view(np.int64) & 1:
        return near
    return math.nextafter(near, math.inf if number > near else -math.inf)
