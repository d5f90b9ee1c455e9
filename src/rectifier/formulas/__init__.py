"""The primitives of a formula, and its interpretations, one module each.

A formula is a straight-line Python function: assignments, arithmetic, comparisons, ``T(literal)``, the primitives
below, and other formulas by their names. It is never called as written. `bind` returns a function of the same code with
other globals, so the same code computes on arrays of NumPy or of another library (`arrays`), on mpmath numbers
(`mpmath`) and on numbers with their derivative (`duals`), or writes LLVM's code (`llvm`), CUDA C++ (`cuda`) and text
(`text`).
"""

from .binding import bind, called_by, with_all_called
from .primitives import (
    PRIMITIVES,
    T,
    abs,
    copysign,
    exp,
    exp_parts,
    expm1,
    expm1_parts,
    fma,
    largest,
    log1p,
    log1p_parts,
    near_zero,
    normal_tail,
    normal_tail_slope,
    one_plus_sine,
    product,
    product_parts,
    quotient,
    quotient_parts,
    sine_squared,
    sqrt,
    stored,
    sum_parts,
    unordered_sum_parts,
    where,
    whole,
)  # fmt: skip

__all__ = [
    "PRIMITIVES", "T", "abs", "bind", "called_by", "copysign", "exp", "exp_parts", "expm1", "expm1_parts", "fma",
    "largest", "log1p", "log1p_parts", "near_zero", "normal_tail", "normal_tail_slope", "one_plus_sine", "product",
    "product_parts", "quotient", "quotient_parts", "sine_squared", "sqrt", "stored", "sum_parts",
    "unordered_sum_parts", "where", "whole", "with_all_called",
]  # fmt: skip
