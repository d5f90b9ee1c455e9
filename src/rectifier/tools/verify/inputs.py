"""The inputs of a verification: all values of a dtype by their rank, or those where a function may go wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ... import testing
from ...functions.dtypes import FORMATS
from ...functions.protocols import Activation


def ranked(dtype: np.dtype[Any], ranks: Any) -> np.ndarray[Any, Any]:
    """Return the values of a dtype by their rank: NaN with a sign first, then -inf and so on upwards to inf and NaN.

    Examples
    --------
    >>> ranked(np.dtype(np.float16), np.arange(0x7FFF, 0x8002)).tolist()
    [-0.0, 0.0, 5.960464477539063e-08]
    """
    bits = np.asarray(ranks).astype(f"u{dtype.itemsize}")
    sign = bits.dtype.type(1 << (8 * dtype.itemsize - 1))
    values: np.ndarray[Any, Any] = np.where(bits & sign, bits ^ sign, ~bits).view(dtype)
    return values


def rank(x: Any) -> np.ndarray[Any, Any]:
    """Return the rank of values: the inverse of `ranked`."""
    bits = x.view(f"u{x.itemsize}")
    sign = bits.dtype.type(1 << (8 * x.itemsize - 1))
    ranks: np.ndarray[Any, Any] = np.where(bits & sign, ~bits, bits ^ sign)
    return ranks


@lru_cache(maxsize=2)
def chosen(activation: Any, dtype_name: str, points: int) -> np.ndarray[Any, Any]:
    """Choose inputs where a function may go wrong, in ascending order.

    Half of them are random bits. The others are where functions bend, small numbers, and all neighbours of special
    points: 0, kinks, zeros of the derivative, and where a result becomes 0, 1, infinite, subnormal or x.
    """
    spec, dtype, random = activation.spec, testing.dtype_of(dtype_name), np.random.default_rng(0)
    top = 1 << (8 * dtype.itemsize)
    bits = random.integers(0, top, points // 2, np.dtype(f"u{dtype.itemsize}"))
    bend = random.uniform(-20, 20, points // 8)
    small = random.standard_normal(points // 8) * 2.0 ** -random.uniform(0, 40, points // 8)
    spots = [0.0, -1.0, 1.0, *(x for x, _ in spec.kinks), *spec.zeros, *spec.crossings, *(x for x, _ in spec.special)]
    with np.errstate(all="ignore"):
        centres = np.unique([*rank(np.array(spots).astype(dtype)).tolist(), *_edges(activation, dtype)])
        reach = max(1, points // 8 // len(centres))
        runs = [np.arange(max(0, c - reach), min(top, c + reach), dtype=bits.dtype) for c in map(int, centres)]
        parts = [bits.view(dtype), bend.astype(dtype), small.astype(dtype), ranked(dtype, np.concatenate(runs))]
        # Of -0.0 and 0.0 one is gone as the other's double.
        return np.append(
            np.unique(np.concatenate([*parts, testing.special_values(dtype)])), np.array([-0.0, 0.0], dtype)
        )


def _edges(activation: Activation, dtype: np.dtype[Any]) -> list[int]:
    """Find the ranks between which a result becomes 0, 1, infinite, subnormal or x."""
    row = FORMATS[dtype.name]
    tiny = 2.0 ** (row.significand + row.smallest - 1)

    def kind(ranks: Any) -> Any:
        x, kinds = ranked(dtype, ranks), 0
        required = activation.spec.required
        for result in (activation(x, **required), activation.derivative(x, **required)):
            for condition in (result == 0, result == 1, np.isinf(result), abs(result) < tiny, result == x):
                kinds = 2 * kinds + condition
        return kinds

    integer = np.dtype(f"u{dtype.itemsize}")
    step = 1 << (8 * dtype.itemsize - 11)
    grid = np.arange(1 << 11, dtype=integer) * integer.type(step)
    kinds = kind(grid)
    low = grid[:-1][kinds[:-1] != kinds[1:]]
    high, below = low + integer.type(step), kind(low)
    while (high - low > 1).any():
        middle = low + (high - low) // integer.type(2)
        same = kind(middle) == below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    edges: list[int] = low.tolist()
    return edges
