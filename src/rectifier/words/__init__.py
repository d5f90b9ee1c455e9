"""The words of a formula, one module a reading.

A formula is a straight-line Python function: assignments, arithmetic, comparisons, ``T(literal)`` and
the words below. It is never called as written. `rebind` gives its code object other globals, so that the
same bytes mean NumPy arrays (`numpy`), Numba scalars (`cpu`), mpmath numbers (`exact`) or text (`text`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .._block import Block, Direction

WORDS = ("T", "where")


def T(literal: float) -> Any:
    """Give a number the working type of x."""
    _refuse()


def where(condition: Any, x: Any, y: Any) -> Any:
    """Select `x` where the condition holds, `y` elsewhere."""
    _refuse()


def _refuse() -> NoReturn:
    raise TypeError("a formula is not called as written; call the function that its block defines")


def rebind(formula: Any, words: Mapping[str, Any]) -> FunctionType:
    """Give `formula`, unchanged, another meaning for each of its words."""
    return FunctionType(formula.__code__, {**words, "__name__": __name__}, formula.__name__, formula.__defaults__)


def read(
    block: Block,
    direction: Direction,
    words: Mapping[str, Any],
    as_word: Callable[[FunctionType], Any] = lambda formula: formula,
) -> FunctionType:
    """Give `direction` of `block` in the reading that `words` stand for.

    A direction is a formula over the block's formulas; `as_word` makes one callable from the other
    (Numba calls only what it has compiled).
    """
    parts = {part: as_word(rebind(getattr(block, part), words)) for part in direction.parts}
    return rebind(direction.formula, {**words, **parts})
