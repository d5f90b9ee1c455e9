"""A formula bound to an interpretation: the same code with other globals."""

from __future__ import annotations

import builtins
from collections.abc import Container, Iterator, Mapping
from types import FunctionType
from typing import Any

from .primitives import PRIMITIVES


def bind(formula: Any, primitives: Mapping[str, Any]) -> FunctionType:
    """Bind the primitives of `formula`, and those of the formulas that it calls, to an interpretation."""
    called = {name: bind(other, primitives) for name, other in called_by(formula, primitives).items()}
    # PyTorch imports in the scope of a formula; whoever checks one brings builtins without names.
    scope = {"__builtins__": builtins, **called, **primitives, "__name__": __name__}
    return FunctionType(formula.__code__, scope, formula.__name__, formula.__defaults__)


def called_by(formula: Any, primitives: Container[str] = PRIMITIVES) -> dict[str, FunctionType]:
    """List the other formulas that `formula` calls by name; an activation function stands for its value."""
    found = {}
    for name in formula.__code__.co_names:
        other = formula.__globals__.get(name)
        if name not in primitives and isinstance(other, FunctionType):
            found[name] = getattr(other, "formula", other)
    return found


def with_all_called(formula: Any) -> Iterator[Any]:
    """List `formula` and every formula that its value depends on."""
    yield formula
    for other in called_by(formula).values():
        yield from with_all_called(other)
