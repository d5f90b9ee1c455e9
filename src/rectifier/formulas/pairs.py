"""Numbers of two float32, of which the second is what rounding took: 44 bits in float32's range.

A processor that has few units for float64, as most GPUs, computes a formula so that has digits to spare in float64.
T. J. Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18 (1971).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .primitives import PRIMITIVES
from .smooth.parts import is_zero


class Pair:
    """A number and its tail.

    Parameters
    ----------
    high, tail
        Numbers of an interpretation.
    primitives : mapping
        Those of that interpretation, over numbers with tails.
    factors : tuple of Pair
        What it is the product of, if anything.
    """

    __slots__ = ("factors", "high", "primitives", "tail")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, high: Any, tail: Any, primitives: Mapping[str, Any], factors: tuple[Pair, ...] = ()) -> None:
        self.high, self.tail, self.primitives, self.factors = high, tail, primitives, factors

    def rounded(self, finite: bool = False) -> Any:
        """Return the nearest number; unless it is known to be `finite`, without the tail of an infinite one, a NaN."""
        where, T = self.primitives["where"], self.primitives["T"]
        if self.factors:  # in half of the operations that their product and its tail take
            x, y = self.factors
            tails = [
                f.tail if finite or is_zero(f.tail) else where(f.tail == f.tail, f.tail, T(0.0)) for f in self.factors
            ]
            return self.primitives["product"](x.high, tails[0], y.high, tails[1])
        whole = self.primitives["whole"](self.high, self.tail)
        return whole if finite else where(self.tail == self.tail, whole, self.high)

    def _made(self, name: str, *operands: Any) -> Pair:
        high, tail = self.primitives[name](*operands)
        return Pair(high, tail, self.primitives)

    def __add__(self, other: Pair) -> Pair:
        tails = [x.tail for x in (self, other) if not is_zero(x.tail)] or [self.tail]
        return self._made("unordered_sum_parts", self.high, other.high, sum(tails[1:], tails[0]))

    def __sub__(self, other: Pair) -> Pair:
        return self + -other

    def __mul__(self, other: Pair) -> Pair:
        product = self._made("product_parts", self.high, self.tail, other.high, other.tail)
        product.factors = self, other
        return product

    def __truediv__(self, other: Pair) -> Pair:
        return self._made("quotient_parts", self.high, self.tail, other.high, other.tail)

    def __neg__(self) -> Pair:
        return Pair(-self.high, -self.tail, self.primitives)

    def _compared(self, compare: Callable[[Any, Any], Any], other: Pair) -> Any:
        difference = self - other
        return compare(difference.high + difference.tail, self.primitives["T"](0.0))

    def __lt__(self, other: Pair) -> Any:
        return self._compared(operator.lt, other)

    def __le__(self, other: Pair) -> Any:
        return self._compared(operator.le, other)

    def __gt__(self, other: Pair) -> Any:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Pair) -> Any:
        return self._compared(operator.ge, other)

    def __eq__(self, other: Pair) -> Any:  # type: ignore[override]
        return self._compared(operator.eq, other)

    def __ne__(self, other: Pair) -> Any:  # type: ignore[override]
        return self._compared(operator.ne, other)


def primitives(lower: Mapping[str, Any]) -> dict[str, Any]:
    """Return the primitives for pairs of numbers of an interpretation.

    Exponentials are of numbers that are at most 0, logarithms of 1 and more.
    """
    T, where = lower["T"], lower["where"]

    def pair(high: Any, tail: Any) -> Pair:
        return Pair(high, tail, lower)

    def choose(condition: Any, x: Pair, y: Pair) -> Pair:
        return pair(where(condition, x.high, y.high), where(condition, x.tail, y.tail))

    def exp(x: Pair) -> Pair:
        # The tail of an infinite x is NaN.
        tail = x.tail if is_zero(x.tail) else where(x.high < T(-1000.0), T(0.0), x.tail)
        m, lost, scale = lower["exp_parts"](x.high, tail)
        return pair(m * scale, lost * scale)

    def log1p(x: Pair) -> Pair:
        u = pair(T(1.0), T(0.0)) + x
        return pair(*lower["log_parts"](u.high, u.tail))

    def lacking(name: str) -> Callable[..., NoReturn]:
        def refuse(*operands: Any) -> NoReturn:
            raise TypeError(f"pairs of float32 have no {name}: leave single=True out of the block")

        return refuse

    return {name: lacking(name) for name in PRIMITIVES} | {
        "T": lambda literal: pair(*T(literal, 0.0)),
        "where": choose,
        "abs": lambda x: choose(x.high < T(0.0), -x, x),
        "fma": lambda x, y, z: x * y + z,
        "exp": exp,
        "exp_in_row": lambda x, peak: pair(*lower["exp_in_row"](x.high, peak.high)),
        "log1p": log1p,
        "sum_parts": lambda x, y, tail: (x + y, tail),
        "unordered_sum_parts": lambda x, y, tail: (x + y, tail),
        "product": lambda x, x_tail, y, y_tail: x * y,
        "quotient": lambda x, x_tail, y, y_tail: x / y,
        "whole": lambda x, tail: x + tail,
    }
