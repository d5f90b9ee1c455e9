"""The mathematics that a block's textbook form computes with, over any numbers."""

from __future__ import annotations

from typing import Any

from .duals import Dual


class Mathematics:
    """The mathematics that a block's `exact` computes with: textbook functions of numbers with derivatives.

    Parameters
    ----------
    functions : object with exp, expm1, log1p, tanh, cosh, sin, cos, sqrt, erfc, pi
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

    def sin(self, x: Any) -> Dual:
        """Compute the sine."""
        x = Dual.of(x)
        return Dual(self._functions.sin(x.number), x.slope * self._functions.cos(x.number))

    def cos(self, x: Any) -> Dual:
        """Compute the cosine."""
        x = Dual.of(x)
        return Dual(self._functions.cos(x.number), -x.slope * self._functions.sin(x.number))

    def with_slope(self, y: Any, slope: Any) -> Dual:
        """Return a function of x with its derivative, where sums of the parts' would cancel."""
        return Dual(Dual.of(y).number, Dual.of(slope).number)

    def erfc(self, x: Any) -> Dual:
        """Compute the complementary error function."""
        x = Dual.of(x)
        density = -2 * self._functions.exp(self._bounded(-x.number * x.number)) / self._functions.sqrt(self.pi)
        return Dual(self._functions.erfc(self._bounded(x.number)), x.slope * density)
