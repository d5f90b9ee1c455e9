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
    erfcx,
    exp,
    exp_parts,
    expm1,
    fma,
    log1p,
    quotient,
    sqrt,
    stored,
    where,
    whole,
)  # fmt: skip

__all__ = [
    "PRIMITIVES", "T", "abs", "bind", "called_by", "copysign", "erfcx", "exp", "exp_parts", "expm1", "fma", "log1p",
    "quotient", "sqrt", "stored", "where", "whole", "with_all_called",
]  # fmt: skip
