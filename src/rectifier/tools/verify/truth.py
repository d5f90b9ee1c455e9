"""The truth about a function of one array: the `exact` of its block, which shares nothing with our formulas.

For float64 mpmath evaluates it. For results of up to 24 bits it is evaluated in float64 first (the sieve), and where
that finds an error worse than the worst so far, again in long doubles: what is reported is theirs. In each run the
sieve itself is compared with mpmath.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import testing
from ...formulas.mpmath import Dual, Mathematics
from ...functions.specification import Specification
from .inputs import chosen
from .results import SAMPLES

# They judge all that is so near to a zero of the derivative, where the sieve's own rounding is not small.
_NEAR_ZERO = 2.0**-10


class _Float64:
    """NumPy's functions of float64, and SciPy's erfc."""

    exp, expm1, log1p, tanh, cosh, sqrt, pi = np.exp, np.expm1, np.log1p, np.tanh, np.cosh, np.sqrt, math.pi
    sin, cos = np.sin, np.cos

    @staticmethod
    def erfc(x: Any) -> Any:
        from scipy.special import erfc

        return erfc(x)


class _Sieve(Mathematics):
    def _bounded(self, number: Any) -> Any:
        return np.clip(number, -self._largest, self._largest)


# Of exp(-500) no result can be made out, and exp(500) times a slope of 1e77, as gelu_tanh has it, is a number.
SIEVE = _Sieve(_Float64, np.where, 500.0)


def parameters_of(spec: Specification, dtype: np.dtype[Any]) -> list[Any]:
    """Return the default parameters of a block in a dtype."""
    return testing.settings_of(spec, dtype, {})


def finite(x: Any) -> Any:
    """Replace infinities by the largest numbers, for the limit there."""
    largest = testing.checks.largest(x.dtype)
    return np.clip(x, *np.array([-largest, largest]).astype(x.dtype))


def sieve(spec: Specification, x: Any) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative in float64."""
    numbers = [float(p) for p in parameters_of(spec, x.dtype)]
    result = Dual.of(spec.exact(SIEVE, Dual(finite(x).astype(np.float64), 1.0), *numbers))
    value, slope = (np.array(np.broadcast_to(part, x.shape), np.float64) for part in (result.number, result.slope))
    return value, slope


def by_long_doubles(spec: Specification, x: Any) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative in long doubles."""
    return testing.exact_arrays(spec, finite(x), parameters_of(spec, x.dtype))


def by_mpmath(spec: Specification, x: Any) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative in arbitrary precision."""
    pairs = [testing.exact(spec, v, parameters_of(spec, x.dtype)) for v in np.nan_to_num(finite(x)).tolist()]
    value, slope = (np.array([pair[k] for pair in pairs] + [None], object)[:-1] for k in (0, 1))
    return value, slope


Exact = Callable[[Specification, Any], tuple[Any, Any]]


def truth(spec: Specification, x: Any, exact: Exact) -> dict[str, Any]:
    """Return value and derivative, with the block's special values and kinks, and NaN of NaN."""
    value, slope = exact(spec, x)
    infinite = np.isinf(x)
    slope[infinite] = [testing.checks.limit_of(number, x.dtype) for number in slope[infinite]]
    for results, pairs in ((value, spec.special), (slope, spec.kinks)):
        for at, expected in pairs:
            results[x == np.array(at).astype(x.dtype)] = results.dtype.type(float(np.array(expected).astype(x.dtype)))
        results[np.isnan(x)] = results.dtype.type(math.nan)
    working = np.dtype(spec.compiled(x.dtype.name))  # what `backward` multiplies by is a number of it
    beyond = (np.abs(slope) > testing.checks.largest(working)).astype(bool)
    slope[beyond] = np.sign(slope[beyond]) * math.inf
    return {"value": value, "derivative": slope}


def truth_error(activation: Any, dtype_name: str, samples: int = SAMPLES) -> float:
    """Return the largest distance of the sieve from mpmath, where it decides alone, in units of a dtype."""
    spec, dtype = activation.spec, testing.dtype_of(dtype_name)
    x = chosen(activation, dtype_name, 1 << 14)
    with np.errstate(all="ignore"):
        x = x[np.isfinite(x) & ~near_a_zero(spec, x)]
        x = np.random.default_rng(1).choice(x, samples)
        distances = [
            _distance(y, t, dtype)
            for ours, theirs in zip(sieve(spec, x), by_mpmath(spec, x), strict=True)
            for y, t in zip(ours.tolist(), theirs, strict=True)
        ]
    return max(distances)


def _distance(y: float, t: Any, dtype: np.dtype[Any]) -> float:
    """Return the distance in units in the last place; 0 where both round to infinity, or the sieve says nothing."""
    beyond = math.isinf(float(testing.nearest(t, dtype)))
    if not math.isfinite(y) or (beyond and abs(y) >= testing.checks.largest(dtype)):
        return 0.0
    return testing.ulp_distance(y, t, dtype)


def near_a_zero(spec: Specification, x: Any) -> Any:
    """Return where inputs are near a zero of the derivative, or one of the value that is not at 0."""
    near = np.zeros(x.shape, bool)
    for zero in (*spec.zeros, *spec.crossings):
        if not (x[0] > zero + _NEAR_ZERO or x[-1] < zero - _NEAR_ZERO):  # they are in order
            near |= (x > zero - _NEAR_ZERO) & (x < zero + _NEAR_ZERO)
    return near
