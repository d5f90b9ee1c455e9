"""The primitives of a formula. What each computes is said here; each interpretation has its own."""

from __future__ import annotations

from typing import Any, NoReturn

PRIMITIVES = (
    "T", "stored", "where", "abs", "copysign", "sqrt", "fma", "whole", "quotient", "exp", "exp_parts", "expm1",
    "log1p", "erfcx",
)  # fmt: skip


def T(literal: float) -> Any:
    """Return a number the working type of x."""
    _refuse()


def stored(literal: float) -> Any:
    """Round a number to the dtype of x, and give it the working type: what a parameter of that value has become."""
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


def whole(x: Any, tail: Any) -> Any:
    """Add to `x` what rounding took from it."""
    _refuse()


def quotient(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
    """Divide x + x_tail by y + y_tail, where the tails are what rounding took."""
    _refuse()


def exp(x: Any, tail: Any = None) -> Any:
    """Compute the exponential of `x`, or of x + tail, where `tail` is what rounding took from `x`."""
    _refuse()


def exp_parts(x: Any, tail: Any) -> Any:
    """Compute the exponential of x + tail as a product of two, neither of which is subnormal."""
    _refuse()


def expm1(x: Any, tail: Any = None) -> Any:
    """Compute ``exp(x) - 1``; `tail` as for `exp`."""
    _refuse()


def log1p(x: Any) -> Any:
    """Compute ``log(1 + x)``."""
    _refuse()


def erfcx(x: Any, tail: Any) -> Any:
    """Compute ``exp(z**2) * erfc(z)`` for z = x + tail from 0 to 28, and what rounding takes from it.

    By itself the first is off by up to 4 units in the last place, with the second by half of one.
    """
    _refuse()


def _refuse() -> NoReturn:
    raise TypeError("a formula is not called as written; call the function that its block defines")
