"""Rational numbers, and irrational ones to 120 digits and more: the mathematics that decides what float64 cannot."""

from __future__ import annotations

import decimal
import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from .duals import Dual
from .mathematics import Mathematics

_CONTEXT = decimal.Context(prec=140)
_LONG = decimal.Context(prec=320)  # for erf, of whose terms at 20 there are some with 174 digits before the point
_FAR = 20  # where erfc is below 1e-175, or 2 less that
_LARGEST = 10_000


def _of_two(compute: Callable[[Any, Any], Any]) -> Any:
    def operate(self: Number, other: Any) -> Any:
        return NotImplemented if isinstance(other, Dual) else compute(self.value, rational(other))

    return operate


def _arithmetic(compute: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Make an operator, and the one of reversed operands."""
    return _of_two(lambda x, y: Number(compute(x, y))), _of_two(lambda x, y: Number(compute(y, x)))


class Number:
    """A rational number, to which the floats of a textbook form are rational numbers as well."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self.value = Fraction(value)

    def __neg__(self) -> Number:
        return Number(-self.value)

    __add__, __radd__ = _arithmetic(operator.add)
    __sub__, __rsub__ = _arithmetic(operator.sub)
    __mul__, __rmul__ = _arithmetic(operator.mul)
    __truediv__, __rtruediv__ = _arithmetic(operator.truediv)
    __lt__, __le__, __gt__, __ge__ = map(_of_two, (operator.lt, operator.le, operator.gt, operator.ge))
    __eq__, __ne__ = _of_two(operator.eq), _of_two(operator.ne)


def rational(number: Any) -> Fraction:
    """Return a number, of this module or of Python, as a fraction."""
    return number.value if isinstance(number, Number) else Fraction(number)


def _decimal(x: Fraction) -> Decimal:
    return _CONTEXT.divide(Decimal(x.numerator), Decimal(x.denominator))


@cache
def _pi() -> Decimal:
    """Compute pi, by the series in the documentation of `decimal`."""
    with decimal.localcontext(_LONG):
        last, term, total, n, more, d, less = Decimal(0), Decimal(3), Decimal(3), 1, 0, 0, 24
        while total != last:
            last = total
            n, more = n + more, more + 8
            d, less = d + less, less + 32
            term = term * n / d
            total += term
        return +total


def _erfc(x: Decimal) -> Decimal:
    """Compute 1 - erf(x) by the Taylor series; see NIST DLMF 7.6.1."""
    if abs(x) > _FAR:
        return Decimal(0 if x > 0 else 2)
    with decimal.localcontext(_LONG):
        term, total, n = x, Decimal(0), 0
        while abs(term) > Decimal("1e-300"):
            total += term / (2 * n + 1)
            n += 1
            term = -term * x * x / n
        return 1 - 2 * total / _pi().sqrt()


def _expm1(x: Decimal) -> Decimal:
    return x.exp() - 1


def _tanh(x: Decimal) -> Decimal:
    return ((2 * x).exp() - 1) / ((2 * x).exp() + 1)


def _cosh(x: Decimal) -> Decimal:
    return (x.exp() + (-x).exp()) / 2


def _sum_of_powers(x: Decimal, first: int) -> Decimal:
    """Sum the powers of the sine's Taylor series, or the cosine's, which begins with 0; see NIST DLMF 4.19.1."""
    with decimal.localcontext(_LONG):
        x = x.remainder_near(2 * _pi())
        term, total, n = x**first if first else Decimal(1), Decimal(0), first
        while abs(term) > Decimal("1e-300"):
            total += term
            n += 2
            term = -term * x * x / (n * (n - 1))
        return total


def _sin(x: Decimal) -> Decimal:
    return _sum_of_powers(x, 1)


def _cos(x: Decimal) -> Decimal:
    return _sum_of_powers(x, 0)


class Functions:
    """The functions of `Mathematics` over numbers of this module.

    Parameters
    ----------
    rational : bool
        Whether to refuse what is irrational, by ArithmeticError.
    """

    # Of each function: the point at which it is rational and what it is there, and the function elsewhere.
    _KNOWN: tuple[tuple[str, int, int, Callable[[Decimal], Decimal]], ...] = (
        ("exp", 0, 1, Decimal.exp), ("expm1", 0, 0, _expm1), ("log1p", 0, 0, lambda x: (1 + x).ln()),
        ("tanh", 0, 0, _tanh), ("cosh", 0, 1, _cosh), ("erfc", 0, 1, _erfc),
        ("sin", 0, 0, _sin), ("cos", 0, 1, _cos),
    )  # fmt: skip

    def __init__(self, rational: bool) -> None:
        self.rational = rational
        for name, at, value, elsewhere in self._KNOWN:
            setattr(self, name, self._function(at, value, elsewhere))
        self.pi = Number(Fraction(_pi()))

    def _function(self, at: int, value: int, elsewhere: Callable[[Decimal], Decimal]) -> Callable[[Any], Number]:
        def compute(number: Any) -> Number:
            x = rational(number)
            return Number(value) if x == at else self._irrational(x, elsewhere)

        return compute

    def _irrational(self, x: Fraction, function: Callable[[Decimal], Decimal]) -> Number:
        if self.rational:
            raise ArithmeticError("an irrational number")
        with decimal.localcontext(_CONTEXT):
            return Number(Fraction(function(_decimal(x))))

    def sqrt(self, number: Any) -> Number:
        """Compute the square root, whose digits of a rational one are all there."""
        x = rational(number)
        with decimal.localcontext(_CONTEXT):
            root = Fraction(_decimal(x).sqrt())
        return Number(root) if root * root == x else self._irrational(x, Decimal.sqrt)


def _select(condition: Any, x: Any, y: Any) -> Any:
    return x if condition else y


RATIONAL, PRECISE = (Mathematics(Functions(rational), _select, _LARGEST) for rational in (True, False))
