"""mpmath numbers: they tell whether the algebra is right, apart from rounding; and the mathematics of the truth."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from .duals import Dual as Dual


class Mathematics:
    """The mathematics that a block's `exact` computes with: textbook functions of numbers with derivatives.

    Parameters
    ----------
    functions : object with exp, expm1, log1p, tanh, cosh, sqrt, erfc, pi
        Over numbers.
    where : callable
        Selects by a condition on numbers.
    largest : number
        Beyond it an exponent makes no difference to any result, but would overflow.
    """

    def __init__(self, functions: Any, where: Any, largest: float) -> None:
        self._functions, self._where, self._largest = functions, where, largest
        self.pi = functions.pi

    def where(self, condition: Any, x: Any, y: Any) -> Dual:
        """Select."""
        x, y = Dual.of(x), Dual.of(y)
        return Dual(self._where(condition, x.number, y.number), self._where(condition, x.slope, y.slope))

    def abs(self, x: Any) -> Dual:
        """Clear the sign."""
        return self.where(x < 0, -x, x)

    def _bounded(self, number: Any) -> Any:
        number = self._where(number > self._largest, self._largest + 0 * number, number)
        return self._where(number < -self._largest, -self._largest + 0 * number, number)

    def sqrt(self, x: Any) -> Dual:
        """Take the square root."""
        x = Dual.of(x)
        root = self._functions.sqrt(x.number)
        return Dual(root, x.slope / (2 * root))

    def exp(self, x: Any) -> Dual:
        """Compute the exponential function."""
        x = Dual.of(x)
        y = self._functions.exp(self._bounded(x.number))
        return Dual(y, x.slope * y)

    def expm1(self, x: Any) -> Dual:
        """Compute exp(x) - 1."""
        x = Dual.of(x)
        bounded = self._bounded(x.number)
        return Dual(self._functions.expm1(bounded), x.slope * self._functions.exp(bounded))

    def log1p(self, x: Any) -> Dual:
        """Compute log(1 + x)."""
        x = Dual.of(x)
        return Dual(self._functions.log1p(x.number), x.slope / (1 + x.number))

    def tanh(self, x: Any) -> Dual:
        """Compute the hyperbolic tangent."""
        x = Dual.of(x)
        cosh = self._functions.cosh(self._bounded(x.number))
        return Dual(self._functions.tanh(x.number), x.slope / cosh / cosh)

    def erfc(self, x: Any) -> Dual:
        """Compute the complementary error function."""
        x = Dual.of(x)
        density = -2 * self._functions.exp(self._bounded(-x.number * x.number)) / self._functions.sqrt(self.pi)
        return Dual(self._functions.erfc(self._bounded(x.number)), x.slope * density)


MPMATH = Mathematics(mpmath, lambda condition, x, y: x if condition else y, 1e6)


class _LongDouble:
    """NumPy's functions of the longest floats; erfc is SciPy's, within some units of 2^-53."""

    exp, expm1, log1p, tanh, cosh, sqrt = np.exp, np.expm1, np.log1p, np.tanh, np.cosh, np.sqrt
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
        "normal_tail": lambda x: (mpmath.exp(x * x / 2) * mpmath.ncdf(-x), mpmath.mpf(0)),
        "normal_tail_slope": lambda x: (
            mpmath.exp(x * x / 2) * mpmath.ncdf(-x) - x / mpmath.sqrt(2 * mpmath.pi),
            mpmath.mpf(0),
        ),
    }
