"""Arrays of any library: NumPy, as the readable reference and the engine where nothing can be compiled, and others.

The other libraries' own are those of the Python array API standard, https://data-apis.org/array-api/2024.12/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..functions.dtypes import cast, named, rounded
from .rows import two_sum
from .smooth import polynomials


def fma_of(bits: int, xp: Any) -> Callable[[Any, Any, Any], Any]:
    """Make an fma for arithmetic with so many bits: it rounds nearly once, and twice where numbers are too large.

    T. J. Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18 (1971).
    """
    factor = float(2 ** -(-bits // 2) + 1)

    def split(x: Any) -> tuple[Any, Any]:
        high = x * factor - (x * factor - x)
        return high, x - high

    def fma(x: Any, y: Any, z: Any) -> Any:
        p = x * y
        (a, b), (c, d) = split(x), split(y)
        rest = b * d - (((p - a * c) - b * c) - a * d)
        s = p + z
        t = s - p
        once = s + (((p - (s - t)) + (z - t)) + rest)
        return xp.where(once == once, once, s)

    return fma


_fma_of_doubles = fma_of(53, np)


def _fma(x: Any, y: Any, z: Any) -> Any:
    """Round once, or nearly so: the product of two float32 is a float64."""
    T = np.result_type(x, y, z)
    if np.float64 == T:
        return _fma_of_doubles(x, y, z)
    return (np.multiply(x, y, dtype=np.float64) + z).astype(T)


def primitives(
    T: Any, xp: Any = np, fma: Callable[[Any, Any, Any], Any] = _fma, dtype: str = "float64"
) -> dict[str, Any]:
    """Return the primitives for arrays of a namespace, of the working type that `T` gives a number.

    `dtype` is that of x, to which parameters were rounded.
    """

    def small(tail: Any) -> Any:
        return xp.where(xp.abs(tail) < 1, tail, T(0))  # that of an infinite x is none

    def exp(x: Any, tail: Any = None) -> Any:
        return xp.exp(x) if tail is None else xp.exp(x) * (1 + small(tail))

    def expm1(x: Any, tail: Any = None) -> Any:
        y = xp.expm1(x)
        return y if tail is None else xp.where(small(tail) == 0, y, y + small(tail) * (1 + y))  # -0.0 stays

    def exp_parts(x: Any, tail: Any) -> tuple[Any, Any, Any]:
        half = xp.exp(x / 2)
        return half * (1 + small(tail)), 0 * half, half

    def sum_parts(x: Any, y: Any, tail: Any) -> tuple[Any, Any]:
        s = x + y
        return s, (x - s) + y + tail

    def product_parts(x: Any, x_tail: Any, y: Any, y_tail: Any) -> tuple[Any, Any]:
        p = x * y
        return p, fma(x, y, -p) + (x * y_tail + x_tail * y)

    def normal_tail(x: Any) -> tuple[Any, Any]:
        # The polynomial that the compiled primitive takes for float64.
        x = x * T(math.sqrt(0.5))
        t = (x - 4) / (x + 4)
        *others, y = map(T, polynomials.ERFCX)
        for coefficient in reversed(others):
            y = coefficient + y * t
        return y / (2 + 4 * x), x * 0

    def unordered_sum_parts(x: Any, y: Any, tail: Any) -> tuple[Any, Any]:
        s, lost = two_sum(x, y)
        return s, lost + tail

    def normal_tail_slope(x: Any) -> tuple[Any, Any]:
        return normal_tail(x)[0] - x * T(1 / math.sqrt(2 * math.pi)), x * 0

    def stored(number: Any) -> Any:
        if type(number) in (int, float):
            return T(rounded(number, dtype))
        return cast(number, named(dtype)).astype(number.dtype)

    def sine_squared(x: Any, tail: Any) -> tuple[Any, Any]:
        s, c = xp.sin(x), xp.cos(x)
        return s * (s + 2 * small(tail) * c), x * 0

    def one_plus_sine(x: Any, tail: Any) -> tuple[Any, Any]:
        s, c = xp.sin(x), xp.cos(x)
        return (s + c) * ((s + c) + 2 * small(tail) * (c - s)), x * 0

    return {
        "T": lambda literal, rest=None: T(literal) if rest is None else (T(literal), T(rest)),
        "largest": lambda: T(float(np.finfo(str(T(0).dtype).rpartition(".")[2]).max)),  # torch.float64 is float64
        "stored": stored,
        "where": xp.where,
        "abs": xp.abs,
        "copysign": xp.copysign,
        "sqrt": xp.sqrt,
        "fma": fma,
        "exp": exp,
        "expm1": expm1,
        "log1p": xp.log1p,
        "whole": lambda x, tail: x,
        "product": lambda x, x_tail, y, y_tail: x * y,
        "quotient": lambda x, x_tail, y, y_tail: x / y,
        "quotient_parts": lambda x, x_tail, y, y_tail: (x / y, 0 * y),
        "near_zero": lambda name, y, x, tail: y,
        "exp_parts": exp_parts,
        "expm1_parts": lambda x, tail: (expm1(x, tail), 0 * x),
        "log1p_parts": lambda x, tail: (xp.log1p(x), 0 * x),
        "sum_parts": sum_parts,
        "unordered_sum_parts": unordered_sum_parts,
        "product_parts": product_parts,
        "sine_squared": sine_squared,
        "one_plus_sine": one_plus_sine,
        "normal_tail": normal_tail,
        "normal_tail_slope": normal_tail_slope,
    }
