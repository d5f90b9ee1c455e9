"""The primitives of formulas, under the name that they had first; `rectifier.formulas` documents them."""

from .formulas import T, abs, copysign, erfcx, exp, exp_parts, expm1, fma, log1p, quotient, sqrt, stored, where, whole
from .formulas.text import FormulaError

__all__ = [
    "FormulaError",
    "T",
    "abs",
    "copysign",
    "erfcx",
    "exp",
    "exp_parts",
    "expm1",
    "fma",
    "log1p",
    "quotient",
    "sqrt",
    "stored",
    "where",
    "whole",
]
