"""The distributions of x, and the batches that are drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...functions import dtypes

DRAWN = 1 << 20  # numbers at most; a longer batch repeats them


class Distribution(NamedTuple):
    """A distribution that x is drawn from.

    Attributes
    ----------
    title : str
        In a report.
    draw : callable
        From a generator and a number of elements to as many of float32.
    in_order : bool
        Whether the batch is sorted.
    """

    title: str
    draw: Callable[[np.random.Generator, int], Any]
    in_order: bool = False


def _normal(rng: np.random.Generator, size: int) -> Any:
    return rng.standard_normal(size, np.float32)


DISTRIBUTIONS = {
    "normal": Distribution("N(0, 1)", _normal),
    "normal2": Distribution("N(0, 2²)", lambda rng, size: 2 * _normal(rng, size)),
    "normal4": Distribution("N(0, 4²)", lambda rng, size: 4 * _normal(rng, size)),
    "uniform": Distribution("uniform from -100 to 100", lambda rng, size: 200 * rng.random(size, np.float32) - 100),
    "negative": Distribution("-|N(0, 2²)|", lambda rng, size: -2 * np.abs(_normal(rng, size))),
    "sorted": Distribution("N(0, 1) sorted", _normal, in_order=True),
}
DEFAULT = "normal"


@lru_cache(maxsize=1)
def batch(rows: int, columns: int, dtype: str, distribution: str) -> tuple[Any, Any]:
    """Draw x from a distribution and dy from N(0, 1), the same in every process."""
    rng = np.random.default_rng(0)
    return tuple(_filled(rng, (rows, columns), dtype, DISTRIBUTIONS[name]) for name in (distribution, DEFAULT))


def _filled(rng: np.random.Generator, shape: tuple[int, int], dtype: str, distribution: Distribution) -> Any:
    array = np.empty(shape, dtypes.named(dtype))
    flat = array.reshape(-1)
    drawn = distribution.draw(rng, min(flat.size, DRAWN))
    if distribution.in_order:
        drawn.sort()
    for k in range(0, flat.size, DRAWN):  # in parts, for the memory's sake
        part = flat[k : k + DRAWN]
        # Each number as often as the others, in order; or the numbers again and again.
        part[:] = (
            drawn[np.arange(k, k + part.size) * drawn.size // flat.size]
            if distribution.in_order
            else drawn[: part.size]
        )
    return array
