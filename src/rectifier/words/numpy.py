"""NumPy arrays: the readable reference, and the engine where nothing can be compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import polynomials


def _fma(x: Any, y: Any, z: Any) -> Any:
    """Round once, or nearly so: the product of two float32 is a float64, that of two float64 nearly a long double."""
    T = np.result_type(x, y, z)
    wide = np.float64 if np.float32 == T else np.longdouble
    return (np.multiply(x, y, dtype=wide) + z).astype(T)


def _tail(tail: Any) -> Any:
    return np.where(np.abs(tail) < 1, tail, 0)  # that of an infinite x is none


def _exp(x: Any, tail: Any = 0) -> Any:
    return np.exp(x) * (1 + _tail(tail))


def _expm1(x: Any, tail: Any = 0) -> Any:
    y = np.expm1(x)
    return np.where(_tail(tail) == 0, y, y + _tail(tail) * (1 + y))  # -0.0 stays


def _exp_parts(x: Any, tail: Any) -> tuple[Any, Any]:
    half = np.exp(x / 2)
    return half * (1 + _tail(tail)), half


def _erfcx(x: Any, tail: Any) -> tuple[Any, Any]:
    """Evaluate the polynomial that the compiled word takes for float64."""
    return np.polynomial.polynomial.polyval((x - 4) / (x + 4), polynomials.ERFCX) / (1 + 2 * x), x * 0


def words(T: type[np.generic]) -> dict[str, Any]:
    """Give the words for arrays of the working type `T`."""
    return {
        "T": T,
        "where": np.where,
        "abs": np.abs,
        "copysign": np.copysign,
        "sqrt": np.sqrt,
        "fma": _fma,
        "exp": _exp,
        "expm1": _expm1,
        "log1p": np.log1p,
        "whole": lambda x, tail: x,
        "quotient": lambda x, x_tail, y, y_tail: x / y,
        "exp_parts": _exp_parts,
        "erfcx": _erfcx,
    }
