"""mpmath numbers: they tell whether the algebra is right, apart from rounding; and the mathematics of the truth."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from .duals import Dual as Dual
from .mathematics import Mathematics as Mathematics

MPMATH = Mathematics(mpmath, lambda condition, x, y: x if condition else y, 1e6)


class _LongDouble:
    """NumPy's functions of the longest floats; erfc is SciPy's, within some units of 2^-53."""

    exp, expm1, log1p, tanh, cosh, sqrt = np.exp, np.expm1, np.log1p, np.tanh, np.cosh, np.sqrt
    sin, cos = np.sin, np.cos
    pi = np.longdouble("3.14159265358979323846264338327950288")

    @staticmethod
    def erfc(x: Any) -> Any:
        from scipy.special import erfc

        return erfc(x.astype(np.float64)).astype(np.longdouble)


def arrays() -> Mathematics:
    """Return the mathematics of arrays of long doubles, precise enough for results of 24 bits."""
    return Mathematics(_LongDouble, np.where, 5000.0)


def primitives() -> dict[str, Any]:
    """Return the primitives for mpmath numbers, at the caller's precision."""
    return {
        "T": lambda literal, rest=None: (
            mpmath.mpf(literal) if rest is None else (mpmath.mpf(literal), mpmath.mpf(rest))
        ),
        "largest": lambda: mpmath.ldexp(1, 1024),
        "stored": mpmath.mpf,
        "where": lambda condition, x, y: x if condition else y,
        "abs": abs,
        "copysign": lambda x, y: -abs(x) if y < 0 else abs(x),
        "sqrt": mpmath.sqrt,
        "fma": lambda x, y, z: x * y + z,
        "exp": lambda x, tail=0: mpmath.exp(x + tail),
        "expm1": lambda x, tail=0: mpmath.expm1(x + tail),
        "log1p": mpmath.log1p,
        "whole": lambda x, tail: x + tail,
        "product": lambda x, x_tail, y, y_tail: (x + x_tail) * (y + y_tail),
        "quotient": lambda x, x_tail, y, y_tail: (x + x_tail) / (y + y_tail),
        "quotient_parts": lambda x, x_tail, y, y_tail: ((x + x_tail) / (y + y_tail), mpmath.mpf(0)),
        "near_zero": lambda name, y, x, tail: y,
        "exp_parts": lambda x, tail: (mpmath.exp(x + tail), mpmath.mpf(0), mpmath.mpf(1)),
        "expm1_parts": lambda x, tail: (mpmath.expm1(x + tail), mpmath.mpf(0)),
        "log1p_parts": lambda x, tail: (mpmath.log1p(x + tail), mpmath.mpf(0)),
        "sum_parts": lambda x, y, tail: (x + y + tail, mpmath.mpf(0)),
        "unordered_sum_parts": lambda x, y, tail: (x + y + tail, mpmath.mpf(0)),
        "product_parts": lambda x, x_tail, y, y_tail: ((x + x_tail) * (y + y_tail), mpmath.mpf(0)),
        "sine_squared": lambda x, tail: (mpmath.sin(x + tail) ** 2, mpmath.mpf(0)),
        "one_plus_sine": lambda x, tail: (1 + mpmath.sin(2 * (x + tail)), mpmath.mpf(0)),
        "normal_tail": lambda x: (mpmath.exp(x * x / 2) * mpmath.ncdf(-x), mpmath.mpf(0)),
        "normal_tail_slope": lambda x: (
            mpmath.exp(x * x / 2) * mpmath.ncdf(-x) - x / mpmath.sqrt(2 * mpmath.pi),
            mpmath.mpf(0),
        ),
    }
