"""Numbers with a derivative: a formula that is given these computes its own derivative.

Everything is carried forward, and `where` selects the derivative with the number. In reverse mode, which JAX and
PyTorch take, the branch that is not selected is multiplied by 0, and an infinite exponential makes NaN of that.
A. Griewank and A. Walther, "Evaluating Derivatives", SIAM, 2008, chapter 3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any


def _of_two(method: Callable[[Any, Any, Any], Any]) -> Any:
    """Make an operator of a method that takes the other's number, and its slope, or None of a constant."""

    def operate(self: Dual, other: Any) -> Any:
        level = other.level if isinstance(other, Dual) else 0
        if level > self.level:
            return NotImplemented  # to the other, this is a constant
        return method(self, *((other.number, other.slope) if level == self.level else (other, None)))

    return operate


def _comparison(compare: Callable[[Any, Any], Any]) -> Any:
    return _of_two(lambda self, number, slope: compare(self.number, number))


class Dual:
    """A number with its derivative by x, which arithmetic carries along.

    Parameters
    ----------
    number, slope
        Numbers, or arrays. They may be duals of a lower level themselves, for a derivative of the derivative.
    level : int
        By which x the slope is: to a dual, those of lower levels are constants, as other numbers are.
    """

    __slots__ = ("level", "number", "slope")
    __array_ufunc__ = None  # NumPy's numbers leave an operation to it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: Any, slope: Any = 0, level: int = 1) -> None:
        self.number, self.slope, self.level = number, slope, level

    @classmethod
    def of(cls, thing: Any) -> Dual:
        """Take a number as a constant."""
        return thing if isinstance(thing, Dual) else Dual(thing, 0 * thing)

    def _with(self, number: Any, slope: Any) -> Dual:
        return Dual(number, slope, self.level)

    @_of_two
    def __add__(self, number: Any, slope: Any) -> Dual:
        return self._with(self.number + number, self.slope if slope is None else self.slope + slope)

    @_of_two
    def __sub__(self, number: Any, slope: Any) -> Dual:
        return self._with(self.number - number, self.slope if slope is None else self.slope - slope)

    def _taken_from(self, number: Any, slope: Any) -> Dual:
        return self._with(number - self.number, -self.slope)

    @_of_two
    def __mul__(self, number: Any, slope: Any) -> Dual:
        own = self.slope * number
        return self._with(self.number * number, own if slope is None else own + self.number * slope)

    @_of_two
    def __truediv__(self, number: Any, slope: Any) -> Dual:
        quotient = self.number / number
        return self._with(quotient, (self.slope if slope is None else self.slope - quotient * slope) / number)

    def _dividing(self, number: Any, slope: Any) -> Dual:
        quotient = number / self.number
        return self._with(quotient, -(quotient * self.slope) / self.number)

    def __neg__(self) -> Dual:
        return self._with(-self.number, -self.slope)

    __radd__, __rmul__ = __add__, __mul__
    __rsub__, __rtruediv__ = _of_two(_taken_from), _of_two(_dividing)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)


def primitives(lower: Mapping[str, Any], level: int) -> dict[str, Any]:
    """Return the primitives for duals of a level, of those for their numbers.

    A tail is a rounding error, and its derivative one of the derivative: neither is carried on.
    """
    T = lower["T"]

    def apart(x: Any) -> tuple[Any, Any]:
        return (x.number, x.slope) if isinstance(x, Dual) and x.level == level else (x, None)

    def of_one(primitive: str, slope_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """Make a word of its derivative, a function of the number and the primitive's value there."""

        def call(x: Any, *tails: Any) -> Any:
            number, slope = apart(x)
            y = lower[primitive](number, *(apart(tail)[0] for tail in tails))
            return y if slope is None else Dual(y, slope_of(number, y) * slope, level)

        return call

    def sign(x: Any) -> Any:
        return lower["where"](x < T(0), T(-1), T(1))  # at either zero that on the right, as formulas ask x < 0

    def where(condition: Any, x: Any, y: Any) -> Any:
        (x, x_slope), (y, y_slope) = apart(x), apart(y)
        number = lower["where"](condition, x, y)
        if x_slope is None and y_slope is None:
            return number
        x_slope, y_slope = (T(0) if slope is None else slope for slope in (x_slope, y_slope))
        return Dual(number, lower["where"](condition, x_slope, y_slope), level)

    def copysign(x: Any, y: Any) -> Any:
        y = apart(y)[0]
        return of_one("copysign", lambda number, _: lower["copysign"](T(1), number) * sign(y))(x, y)

    def fma(x: Any, y: Any, z: Any) -> Any:
        (x, x_slope), (y, y_slope), (z, z_slope) = apart(x), apart(y), apart(z)
        number = lower["fma"](x, y, z)
        # In the order of a product, so that nothing is left of fma(x, y, -(x * y)).
        parts = [
            part
            for part in (
                None if x_slope is None else x_slope * y,
                None if y_slope is None else x * y_slope,
                z_slope,
            )
            if part is not None
        ]
        if not parts:
            return number
        slope = parts[0]
        for part in parts[1:]:
            slope = slope + part
        return Dual(number, slope, level)

    def exp_parts(x: Any, tail: Any) -> tuple[Any, Any, Any]:
        # Only the product has a meaning, so the scale may pass for a constant.
        number, slope = apart(x)
        m, lost, scale = lower["exp_parts"](number, apart(tail)[0])
        return (m if slope is None else Dual(m, m * slope, level)), lost, scale

    def in_parts(name: str, rule: Any) -> Any:
        # What rounding takes passes for a constant.
        def call(x: Any, tail: Any) -> tuple[Any, Any]:
            number, slope = apart(x)
            y, lost = lower[name](number, apart(tail)[0])
            return (y if slope is None else Dual(y, rule(number, y) * slope, level)), lost

        return call

    def quotient_parts(x: Any, x_tail: Any, y: Any, y_tail: Any) -> tuple[Any, Any]:
        _, lost = lower["quotient_parts"](*[apart(operand)[0] for operand in (x, x_tail, y, y_tail)])
        return quotient(x, x_tail, y, y_tail), lost

    def quotient(x: Any, x_tail: Any, y: Any, y_tail: Any) -> Any:
        (x, x_slope), (y, y_slope) = apart(x), apart(y)
        q = lower["quotient"](x, apart(x_tail)[0], y, apart(y_tail)[0])
        if x_slope is None and y_slope is None:
            return q
        rest = -(q * y_slope) if x_slope is None else x_slope if y_slope is None else x_slope - q * y_slope
        return Dual(q, rest / y, level)

    def sine_squared(x: Any, tail: Any) -> tuple[Any, Any]:
        number, slope = apart(x)
        y, lost = lower["sine_squared"](number, apart(tail)[0])
        return (y if slope is None else Dual(y, (lower["one_plus_sine"](number, T(0))[0] - T(1)) * slope, level)), lost

    def one_plus_sine(x: Any, tail: Any) -> tuple[Any, Any]:
        number, slope = apart(x)
        y, lost = lower["one_plus_sine"](number, apart(tail)[0])
        twice_cosine = T(2) - T(4) * lower["sine_squared"](number, T(0))[0]
        return (y if slope is None else Dual(y, twice_cosine * slope, level)), lost

    return {
        **lower,  # normal_tail and normal_tail_slope are arithmetic
        "sum_parts": lambda x, y, tail: (x + y, tail),
        "unordered_sum_parts": lambda x, y, tail: (x + y, tail),
        "product": lambda x, x_tail, y, y_tail: x * y,
        "product_parts": lambda x, x_tail, y, y_tail: (x * y, x_tail),
        "where": where,
        "abs": of_one("abs", lambda x, _: sign(x)),
        "copysign": copysign,
        "sqrt": of_one("sqrt", lambda _, y: T(0.5) / y),
        "fma": fma,
        "exp": of_one("exp", lambda _, y: y),
        "expm1": of_one("expm1", lambda x, _: lower["exp"](x)),
        "log1p": of_one("log1p", lambda x, _: T(1) / (T(1) + x)),
        "whole": of_one("whole", lambda *_: T(1)),
        "sine_squared": sine_squared,
        "one_plus_sine": one_plus_sine,
        "quotient": quotient,
        "quotient_parts": quotient_parts,
        "exp_parts": exp_parts,
        "expm1_parts": in_parts("expm1_parts", lambda x, y: lower["exp"](x)),
        "log1p_parts": in_parts("log1p_parts", lambda x, y: T(1) / (T(1) + x)),
    }
