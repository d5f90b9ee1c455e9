"""The smooth primitives as formulas over exact ones, for whoever writes code of them: LLVM's, or CUDA C++.

Each has four forms, in a module of its own: `wide`, in float64; `narrow`, in float64 at half the cost, whose error of
2^-28 is a twentieth of a unit in the last place of float32; `single`, in float32; and `plain`, in float32 for results
of 16 bits. What the first and the third share is in `parts`; the others have no tails (`tailless`). They take any x,
unless their primitive says otherwise. They have no branch, so each lane of a register takes the same instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from . import narrow, parts, plain, sine, single, tailless, wide

SMOOTH = (
    "whole", "sum_parts", "unordered_sum_parts", "product", "product_parts", "quotient", "quotient_parts", "exp",
    "exp_parts", "expm1", "expm1_parts", "log1p", "log1p_parts", "normal_tail", "normal_tail_slope", "near_zero",
    "sine_squared", "one_plus_sine",
)  # fmt: skip
_MODULES = {module.__name__: module for module in (parts, sine, tailless, narrow, plain, single, wide)}


def primitives(exact: Mapping[str, Any], form: str) -> dict[str, Any]:
    """Bind the smooth primitives to the exact ones of an interpretation, which has `bits` and such, too.

    `form` is one of wide, single, narrow, plain.
    """
    shared = vars(tailless) if form in ("narrow", "plain") else {}
    scope = {**vars(parts), **vars(sine), **shared, **vars(_MODULES[f"{__name__}.{form}"]), **exact}
    for name, function in scope.items():
        if isinstance(function, FunctionType) and function.__module__ in _MODULES:
            scope[name] = FunctionType(function.__code__, scope, name, function.__defaults__)
    # Pairs of float32 and rows need others, which are no primitives of a formula.
    return {name: scope[name] for name in (*SMOOTH, "log_parts", "exp_in_row") if name in scope}
