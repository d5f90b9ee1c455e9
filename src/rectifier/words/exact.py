"""mpmath numbers: they tell whether the algebra is right, apart from rounding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mpmath

# What a block's `exact` computes with: textbook functions, at the caller's precision.
MATHEMATICS: Any = SimpleNamespace(
    where=lambda condition, x, y: x if condition else y,
    abs=abs,
    sqrt=mpmath.sqrt,
    exp=mpmath.exp,
    expm1=mpmath.expm1,
    log1p=mpmath.log1p,
    tanh=mpmath.tanh,
    erfc=mpmath.erfc,
    pi=mpmath.pi,
)


def words() -> dict[str, Any]:
    """Give the words for mpmath numbers, at the caller's precision."""
    return {"T": mpmath.mpf, "where": MATHEMATICS.where}
