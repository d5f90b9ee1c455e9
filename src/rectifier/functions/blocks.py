"""Checks of what a block is made of, where it is defined: a formula, its arguments, what it returns."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind, tracing
from ..formulas.text import FormulaError, describe
from . import signatures
from .required import Required

_NO_FORMULA = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
CONDITION, NUMBER = "a condition", "a number"


def require_function(decorator: str, formula: Any) -> None:
    """Refuse what is no plain Python function."""
    if not isinstance(formula, FunctionType):
        raise FormulaError(
            f"{decorator} takes a formula, which is a function written with def or lambda, not {formula!r}"
        )
    if formula.__code__.co_flags & _NO_FORMULA:
        raise FormulaError(f"{formula.__name__}: a formula returns its result; it has no yield, and is not async")


def parameters_of(formula: FunctionType, arrays: tuple[str, ...]) -> dict[str, float]:
    """Return the defaults of the parameters of a formula, which stand behind its arrays."""
    code, defaults = formula.__code__, formula.__defaults__ or ()
    names = _arguments(formula, formula.__name__)
    if names[:1] != ("x",):
        called = f", not {names[0]}" if names else ", and it has none"
        raise FormulaError(f"{formula.__name__}: the first argument of a formula is called x{called}")
    names = names[len(arrays) :]
    if code.co_flags & inspect.CO_VARARGS:
        raise FormulaError(f"{formula.__name__}: a formula names its parameters; it takes no *arguments")
    if len(defaults) != len(names) or any(type(default) not in (int, float, Required) for default in defaults):
        raise FormulaError(f"{formula.__name__}: parameters need numbers as defaults: {', '.join(names)}")
    for name in (*arrays[1:], *names):
        if signatures.is_reserved(name) or not name.isidentifier() or keyword.iskeyword(name):
            raise FormulaError(
                f"{formula.__name__}: an argument of a formula cannot be called {name!r}, since the calls use that "
                f"name themselves ({', '.join(sorted(signatures.ARGUMENTS))}, and what begins and ends with _)"
            )
    return {n: d if type(d) is Required else float(d) for n, d in zip(names, defaults, strict=True)}


def gate_of(formula: FunctionType) -> str:
    """Return the name of the second argument of a gated formula."""
    names, defaults = _arguments(formula, formula.__name__), formula.__defaults__ or ()
    if len(names) - len(defaults) < 2:
        raise FormulaError(
            f"{formula.__name__}: a gated formula takes two arrays, x and its gate, before its parameters"
        )
    return names[1]


def _arguments(formula: FunctionType, what: str) -> tuple[str, ...]:
    code = formula.__code__
    if code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS:
        raise FormulaError(
            f"{what}: the arguments of a formula are positional; the calls make keywords of its parameters"
        )
    return code.co_varnames[: code.co_argcount]


def require_formula(what: str, formula: Any, arguments: Iterable[str], results: tuple[str, ...] = (NUMBER,)) -> None:
    """Refuse a formula that is none, takes other arguments, or returns something else.

    Parameters
    ----------
    what : str
        What the formula is, for the error, as ``"relu.derivative"``.
    formula : callable
    arguments : names
        It is called by the places of its arguments, so the names are for the error.
    results : tuple
        `CONDITION` or `NUMBER` for each result.
    """
    require_function(what, formula)
    arguments = [*arguments]
    names, takes_more = _arguments(formula, what), bool(formula.__code__.co_flags & inspect.CO_VARARGS)
    if len(names) > len(arguments) or (len(names) < len(arguments) and not takes_more):
        wanted = f"({', '.join(arguments)})"
        raise FormulaError(f"{what}: the formula is called with {wanted}, and takes ({', '.join(names)})")
    misplaced = [name for name, own in zip(names, arguments, strict=False) if name != own and name in arguments]
    if misplaced:
        raise FormulaError(
            f"{what}: the formula is called with ({', '.join(arguments)}), and {misplaced[0]} is elsewhere"
        )
    describe(formula)
    with np.errstate(all="ignore"):
        made = bind(formula, array_primitives.primitives(np.float64))(*np.ones(len(arguments)))
    parts = made if isinstance(made, tuple) else (made,)
    kinds = tuple(CONDITION if np.asarray(part).dtype == np.bool_ else NUMBER for part in parts)
    if kinds != results:
        raise FormulaError(f"{what}: the formula returns {', '.join(kinds)}; it has to return {', '.join(results)}")


class _Selections(tracing.Trace):
    """A trace that refuses what is not the same for integers of each dtype."""

    def literal(self, number: Any, kind: str = "") -> tracing.Node:
        """Return the node of a number that each dtype holds."""
        if not kind:  # a number of a smooth primitive
            raise TypeError("integers have no exp, expm1, log1p or the like")
        if not 0 <= number <= 127 or number != int(number):
            raise TypeError(f"each integer dtype holds 0 to 127, not {number!r}")
        return super().literal(int(number), kind)

    def write_literal(self, number: Any, kind: str) -> None:
        """Take any number that came here."""

    def write(self, operation: str, kind: str, operands: tuple[tracing.Node, ...]) -> None:
        """Refuse what integers do not have."""
        if operation not in ("add", "sub", "neg", "where", "and", "or", *tracing.COMPARISONS):
            raise TypeError(f"integers have no {operation}")


def require_selection(what: str, formula: Any, count: int) -> None:
    """Refuse a formula of so many arguments that cannot be computed of integers as they are."""
    trace = _Selections("int32", False, "int8")
    try:
        bind(formula, trace.primitives())(*(tracing.Node(trace, trace.kind, None) for _ in range(count)))
    except (TypeError, ValueError, OverflowError) as error:
        raise FormulaError(
            f"{what}: selects=True leaves integers their dtype, and {error}; without selects they become floats"
        ) from None


def pairs(decorator: str, name: str, given: Iterable[Any]) -> tuple[tuple[float, float], ...]:
    """Return pairs of numbers as a tuple."""
    try:
        return tuple((float(a), float(b)) for a, b in given)
    except (TypeError, ValueError):
        raise FormulaError(f"{decorator}: {name} takes pairs of numbers; it got {given!r}") from None


def subset(decorator: str, name: str, given: Any, allowed: Iterable[str]) -> tuple[str, ...]:
    """Return a tuple of names, all of which are allowed."""
    allowed = [*allowed]
    if isinstance(given, str) or any(one not in allowed for one in given):
        raise FormulaError(f"{decorator}: {name} takes a tuple of {', '.join(allowed) or 'no names'}; it got {given!r}")
    return tuple(given)


def require_choice(decorator: str, name: str, given: Any, allowed: tuple[str, ...]) -> None:
    """Refuse what is none of some names."""
    if given not in allowed:
        raise FormulaError(f"{decorator}: {name} is one of {', '.join(map(repr, allowed))}; it got {given!r}")


def units(decorator: str, given: Any, count: int) -> Any:
    """Return a number, or a tuple of as many numbers as there are bounds."""
    several = given if isinstance(given, tuple | list) else (given,) * count
    if len(several) != count or not all(isinstance(one, int | float) for one in several):
        raise FormulaError(f"{decorator}: ulp takes a number or {count} of them; it got {given!r}")
    return tuple(float(one) for one in several)
