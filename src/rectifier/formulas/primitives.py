"""The primitives of a formula. What each computes is said here; each interpretation has its own."""

from __future__ import annotations

from typing import Any, NoReturn

PRIMITIVES = (
    "T", "largest", "stored", "where", "abs", "copysign", "sqrt", "fma", "whole", "sum_parts", "unordered_sum_parts",
    "product", "product_parts", "quotient", "quotient_parts", "exp", "exp_parts", "expm1", "expm1_parts", "log1p",
    "log1p_parts", "normal_tail", "normal_tail_slope", "near_zero",
    "sine_squared", "one_plus_sine",
)  # fmt: skip


def T(literal: float, rest: float = 0.0) -> Any:
    """Return a number the working type of x.

    With `rest`, which is what the literal lacks in float64, return the number and what it lacks in the working type.
    """
    _refuse()


def largest() -> Any:
    """Return the largest finite number of the working type of x."""
    _refuse()


def stored(literal: float) -> Any:
    """Round a number to the dtype of x, and give it the working type: what a parameter of that value has become.

    Operations of the sum of two arrays round it so; the formulas of a block take it for literals alone.
    """
    _refuse()


def where(condition: Any, x: Any, y: Any) -> Any:
    """Select `x` where the condition holds, `y` elsewhere."""
    _refuse()


def abs(x: Any) -> Any:
    """Clear the sign of `x`."""
    _refuse()


def copysign(x: Any, y: Any) -> Any:
    """Return `x` the sign of `y`."""
    _refuse()


def sqrt(x: Any) -> Any:
    """Take the square root."""
    _refuse()


def fma(x: Any, y: Any, z: Any) -> Any:
    """Compute ``x * y + z`` with one rounding; arrays round nearly once, and twice next to the ends of their range."""
    _refuse()


# A tail is what rounding took from a number. Without tails some results would be off by 4 units in the last place, and
# by a thousand where it is in an exponent. Those of `_parts` are a number and its tail, a part of a unit in its last
# place; those of `exp_parts` are longer, and to divide by them they are added by `sum_parts` first. T. J. Dekker,
# Numer. Math. 18 (1971); T. Ogita, S. M. Rump and S. Oishi, SIAM J. Sci. Comput. 26 (2005).
def whole(x: Any, tail: Any) -> Any:
    """Add to `x` its tail."""
    _refuse()


def sum_parts(x: Any, y: Any, tail: Any) -> Any:
    """Add x and y, where abs(x) >= abs(y), and give the tail of the sum, to which another is added."""
    _refuse()


def unordered_sum_parts(x: Any, y: Any, tail: Any) -> Any:
    """Do what `sum_parts` does, whichever of x and y is the larger."""
    _refuse()


def product_parts(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
    """Multiply x + x_tail by y + y_tail, and give the tail of the product; that of a zero is -0.0."""
    _refuse()


def product(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
    """Multiply x + x_tail by y + y_tail, all of which are finite, as their product is."""
    _refuse()


def quotient(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
    """Divide x + x_tail by y + y_tail, all of which are finite."""
    _refuse()


def quotient_parts(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
    """Divide x + x_tail by y + y_tail, and give the tail of the quotient; that of a zero is -0.0 if y is above 0."""
    _refuse()


def exp(x: Any, tail: Any = None) -> Any:
    """Compute the exponential of `x`, or of x + tail, where `tail` is what rounding took from `x`."""
    _refuse()


def exp_parts(x: Any, tail: Any) -> Any:
    """Compute the exponential of x + tail, for x at most 0: a sum of two, and a power of two to multiply both by.

    As for all in parts, the tail is below 1.
    The second is up to a tenth of the first. They are normal numbers, or 0, where the exponential is subnormal.
    """
    _refuse()


def expm1(x: Any, tail: Any = None) -> Any:
    """Compute ``exp(x) - 1``; `tail` as for `exp`."""
    _refuse()


def expm1_parts(x: Any, tail: Any) -> Any:
    """Compute ``exp(x + tail) - 1`` for x at most 0, and its tail; of -0.0 it is either zero."""
    _refuse()


def log1p(x: Any) -> Any:
    """Compute ``log(1 + x)``."""
    _refuse()


def log1p_parts(x: Any, tail: Any) -> Any:
    """Compute ``log(1 + x + tail)`` for x from 0 to 1, and its tail."""
    _refuse()


def normal_tail(x: Any) -> Any:
    """Compute ``exp(x**2 / 2) * ndtr(-x)`` for x from 0 to 40, and its tail.

    By itself the first is off by up to 4 units in the last place, with the second by half of one. `ndtr` is the normal
    distribution function.
    """
    _refuse()


def normal_tail_slope(x: Any) -> Any:
    """Compute ``exp(x**2 / 2)`` times the derivative of ``x * ndtr(-x)``, for x from 0 to 40, and its tail.

    It is ``normal_tail(x) - x / sqrt(2 * pi)``, in float32 to its last place next to its zero, too.
    """
    _refuse()


def near_zero(name: str, y: Any, x: Any, tail: Any) -> Any:
    """Return the derivative `y` of a function, at x + tail, to its last place next to its zero, too.

    In float32 it is made of a polynomial there (`smooth.polynomials.ZEROS`): in float64 alone has what it is the
    difference of digits to spare.
    """
    _refuse()


def sine_squared(x: Any, tail: Any) -> Any:
    """Compute the square of the sine of x + tail, and its tail, for any finite x. There is none in float32."""
    _refuse()


def one_plus_sine(x: Any, tail: Any) -> Any:
    """Compute ``1 + sin(2 * (x + tail))``, next to its zeros, too, and its tail. There is none in float32."""
    _refuse()


def _refuse() -> NoReturn:
    raise TypeError("a formula is not called as written; call the function that its block defines")
