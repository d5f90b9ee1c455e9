"""Text: what a formula says, and whether it is one.

Running a formula on expressions instead of numbers shows every operation it performs, and refuses what a
compiled reading could not keep: a branch, a loop, a bare number (in float32 it would drag the arithmetic
to float64), a name that is not a primitive.
"""

from __future__ import annotations

import operator
from typing import Any, NoReturn, cast

from . import PRIMITIVES, bind, with_all_called


class FormulaError(TypeError):
    """A function that is not a formula."""


class Expression:
    """A piece of a formula; `strength` is how tightly its outermost operator binds."""

    __slots__ = ("condition", "strength", "text")

    def __init__(self, text: str, strength: int = 9, condition: bool = False) -> None:
        self.text = text
        self.strength = strength
        self.condition = condition

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> NoReturn:
        raise FormulaError(
            "a formula has no `if`, `and`, `or`, `not` or chained comparison: use where(condition, x, y), "
            "and & and | of conditions"
        )

    def __iter__(self) -> NoReturn:
        raise FormulaError("a formula has no loops")

    __hash__ = None  # type: ignore[assignment]


def _operand(value: Any, condition: bool = False) -> Expression:
    if isinstance(value, Expression) and value.condition == condition:
        return value
    if isinstance(value, Expression):
        wanted = "a condition, such as x > T(0)" if condition else "a number"
        raise FormulaError(f"{value} stands where a formula needs {wanted}")
    if isinstance(value, int | float):
        raise FormulaError(f"bare {value!r}: write T({value!r}), so that the number has the type of x")
    raise FormulaError(f"a {type(value).__name__} stands where a formula needs a number")


# What primitives give beside a number, which a reader need not see: their tail, and their scale.
NOTHING, ONE = Expression("0"), Expression("1")


def _spared(symbol: str, left: Expression, right: Expression) -> Any:
    """Return the result of an operation of which a tail or a scale spares a part; None of others."""
    if symbol in ("+", "-") and right is NOTHING:
        return left
    if symbol in ("+", "-") and left is NOTHING:
        return right if symbol == "+" else -cast(Any, right)
    if symbol == "*" and (left is NOTHING or right is NOTHING):
        return NOTHING
    if symbol in ("*", "/") and right is ONE:
        return left
    return right if symbol == "*" and left is ONE else None


def _binary(symbol: str, strength: int) -> tuple[Any, Any]:
    def write(left: Any, right: Any) -> Expression:
        left, right = _operand(left), _operand(right)
        spared = _spared(symbol, left, right)
        if spared is not None:
            return cast(Expression, spared)
        first = left.text if left.strength >= strength else f"({left})"
        second = right.text if right.strength > strength else f"({right})"
        return Expression(f"{first} {symbol} {second}", strength, condition=strength == 1)

    return write, lambda right, left: write(left, right)


for _name, _symbol, _strength in (
    ("add", "+", 2), ("sub", "-", 2), ("mul", "*", 3), ("truediv", "/", 3),
):  # fmt: skip
    _write, _reflected = _binary(_symbol, _strength)
    setattr(Expression, f"__{_name}__", _write)
    setattr(Expression, f"__r{_name}__", _reflected)
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    setattr(Expression, f"__{_name}__", _binary(_symbol, 1)[0])
for _name, _symbol in (("and", "&"), ("or", "|")):
    setattr(
        Expression,
        f"__{_name}__",
        lambda left, right, symbol=_symbol: Expression(
            f"({_operand(left, True)}) {symbol} ({_operand(right, True)})", 1, condition=True
        ),
    )
_REFUSED = {
    "pow": "**", "floordiv": "//", "mod": "%", "matmul": "@", "lshift": "<<", "rshift": ">>", "xor": "^",
    "invert": "~", "pos": "+x", "getitem": "[]", "call": "()",
}  # fmt: skip
for _name in (*_REFUSED, "rpow", "rfloordiv", "rmod", "rmatmul", "rlshift", "rrshift", "rxor"):
    setattr(Expression, f"__{_name}__", lambda *_, name=_name: _refuse_operation(name))
setattr(
    Expression,
    "__neg__",
    lambda x: x if x is NOTHING else Expression(f"-{_operand(x).text if x.strength >= 4 else f'({x})'}", 4),
)


def _refuse_operation(name: str) -> NoReturn:
    symbol = _REFUSED.get(name) or _REFUSED[name[1:]]
    raise FormulaError(
        f"a formula has no operator {symbol}: it has + - * /, comparisons, & and | of conditions, and "
        f"{', '.join(PRIMITIVES)}"
    )


def _literal(number: Any, rest: Any = None) -> Any:
    if rest is not None:
        return _literal(number), NOTHING
    if type(number) not in (int, float):
        raise FormulaError(f"T({number}): T takes a literal number")
    try:
        float(number)
    except OverflowError:
        raise FormulaError(f"T of an integer of {len(str(number))} digits: no dtype holds it") from None
    return Expression(repr(number), 9 if number >= 0 else 4)


def _where(*operands: Any) -> Expression:
    if len(operands) != 3:
        raise FormulaError(f"where takes a condition and 2 operands, not {len(operands)} in all")
    condition, x, y = _operand(operands[0], True), *map(_operand, operands[1:])
    return x if x.text == y.text else Expression(f"where({condition}, {x}, {y})")


def _function(name: str, least: int, most: int) -> Any:
    def write(*operands: Any) -> Expression:
        if not least <= len(operands) <= most:
            raise FormulaError(f"{name} takes {least} operands, not {len(operands)}")
        if name in ("product", "quotient"):
            combine = operator.mul if name == "product" else operator.truediv
            return cast(Expression, combine(_operand(operands[0]), operands[2]))
        if name == "fma" and any(operand is ONE for operand in operands):
            x, y, z = map(_operand, operands)
            return cast(Expression, operator.add(operator.mul(x, y), z))
        return Expression(f"{name}({', '.join(_operand(operand).text for operand in operands[:least])})")

    return write


_MEANINGS = {
    "T": _literal,
    "largest": lambda: Expression("largest"),
    "stored": _literal,
    "where": _where,
    "exp_parts": lambda x, tail: (Expression(f"exp({_operand(x)})"), NOTHING, ONE),
    "expm1_parts": lambda x, tail: (Expression(f"expm1({_operand(x)})"), NOTHING),
    "log1p_parts": lambda x, tail: (Expression(f"log1p({_operand(x)})"), NOTHING),
    "quotient_parts": lambda x, _, y, __: (operator.truediv(_operand(x), y), NOTHING),
    "whole": lambda x, tail: _operand(x),
    "near_zero": lambda name, y, x, tail: _operand(y),
    "sine_squared": lambda x, tail: (Expression(f"sine_squared({_operand(x)})"), NOTHING),
    "one_plus_sine": lambda x, tail: (Expression(f"one_plus_sine({_operand(x)})"), NOTHING),
    "normal_tail": lambda x: (Expression(f"normal_tail({_operand(x)})"), NOTHING),
    "normal_tail_slope": lambda x: (Expression(f"normal_tail_slope({_operand(x)})"), NOTHING),
    "unordered_sum_parts": lambda x, y, tail: (operator.add(_operand(x), y), NOTHING),
    "sum_parts": lambda x, y, tail: (operator.add(_operand(x), y), NOTHING),
    "product_parts": lambda x, _, y, __: (operator.mul(_operand(x), y), NOTHING),
}
for _name, _least, _most in (
    ("abs", 1, 1), ("copysign", 2, 2), ("sqrt", 1, 1), ("fma", 3, 3), ("exp", 1, 2), ("expm1", 1, 2), ("log1p", 1, 1),
    ("product", 4, 4), ("quotient", 4, 4),
):  # fmt: skip
    _MEANINGS[_name] = _function(_name, _least, _most)


def describe(formula: Any) -> str:
    """Write out what `formula` computes.

    Raises
    ------
    FormulaError
        If `formula` is not straight-line code over the primitives.
    """
    where = f"{formula.__qualname__} in {formula.__code__.co_filename}, line {formula.__code__.co_firstlineno}"
    if formula.__closure__:
        names = ", ".join(formula.__code__.co_freevars)
        raise FormulaError(f"{where}: a formula takes what it needs as parameters, and this one closes over {names}")
    arguments = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    try:
        if any(part.__code__.co_exceptiontable for part in with_all_called(formula)):
            raise FormulaError("a formula has no `try` and no `with`")
        meaning = bind(formula, {**_MEANINGS, "__builtins__": {}})
        result = meaning(*map(Expression, arguments))
        parts = result if isinstance(result, tuple) else (result,)
        return ", ".join(str(_operand(part, getattr(part, "condition", False))) for part in parts)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None
    except RecursionError:
        raise FormulaError(f"{where}: a formula does not call itself") from None
    except Exception as error:  # whatever Python makes of code that is no formula
        message = str(error).replace("'Expression' object", "a number")
        raise FormulaError(f"{where}: {message}; the primitives of a formula are {', '.join(PRIMITIVES)}") from None
