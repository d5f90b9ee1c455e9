"""Check functions of one array, on some of its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from ... import testing
from ...functions.dtypes import FORMATS
from ...functions.specification import Specification
from .inputs import chosen, rank, ranked
from .references import CHUNK, reference
from .results import MARGIN, OURS, Tally
from .truth import Exact, by_long_doubles, by_mpmath, near_a_zero, sieve, truth

# What `backward` is given: the first, where all float32 are checked; not the last in float64, as it would multiply
# what a derivative has lost that is too small for float64.
GRADIENTS = (-0.7, 1.0, 3000.0)
OUTER = 2.0**-27, 2.0**10  # nothing bends nearer to 0, or farther away
MANY = 1 << 19  # neighbours there; their arrays fit the third-level cache


@dataclass(frozen=True)
class Task:
    """Some inputs of a stage: those of these ranks among all values of the dtype, or among the chosen ones."""

    activation: Any
    dtype: str
    ranks: range
    among: int | None  # how many are chosen; None is all
    sources: tuple[str, ...]


def bound(spec: Specification, dtype: np.dtype[Any], operation: str) -> float:
    """Return the largest error that a block allows in an operation: half a unit where one rounding happens."""
    limit = testing.bound(spec, dtype, derivative=operation != "value") or 0.5
    if operation != "backward" or limit <= 0.5 or dtype.itemsize == 2:
        return limit
    # A unit of the derivative may be two of the product. Where all is wide, that alone is rounded.
    return 2 * limit - 0.5 if spec.wide and not spec.single and dtype != np.float64 else 2 * limit + 0.5


def check(task: Task) -> dict[tuple[str, str], Tally]:
    """Check the inputs of a task."""
    dtype, found = testing.dtype_of(task.dtype), dict[tuple[str, str], Tally]()
    check = _by_arbitrary_precision if task.dtype == "float64" else _by_sieve
    last = task.ranks.stop if task.among else min(task.ranks.stop + 1, 1 << (8 * dtype.itemsize))
    every_float32 = task.among is None and task.dtype == "float32"
    for part in _cut(task.ranks, MANY) if every_float32 else [task.ranks]:
        with np.errstate(all="ignore"):
            if every_float32 and _by_ends(task, ranked(dtype, np.arange(part.start, part.stop)), found):
                continue
            for piece in _cut(part, CHUNK):
                if task.among:
                    x = chosen(task.activation, task.dtype, task.among)[piece.start : piece.stop]
                else:  # the first of the next piece comes along, as a neighbour
                    x = ranked(dtype, np.arange(piece.start, min(piece.stop + 1, last)))
                check(task, x, len(piece), found)
    return found


def _cut(ranks: range, size: int) -> list[range]:
    return [range(begin, min(begin + size, ranks.stop)) for begin in range(ranks.start, ranks.stop, size)]


def _results(task: Task, x: Any) -> Iterable[tuple[str, str, float, Any]]:
    """Compute all operations, ours and others': which, whose, the gradient and the results."""
    activation = task.activation
    few = 2 if task.dtype == "float64" else 1 if task.dtype == "float32" and task.among is None else None
    if OURS in task.sources:
        required = activation.spec.required
        yield "value", OURS, 1.0, activation(x, **required)
        yield "derivative", OURS, 1.0, activation.derivative(x, **required)
        for dy in GRADIENTS[:few]:
            rounded = np.array(dy).astype(x.dtype)
            yield "backward", OURS, float(rounded), activation.backward(np.full_like(x, rounded), x, **required)
    for source in task.sources:
        for operation, call in (
            reference(source, activation.spec.full_name, task.dtype).items() if source != OURS else ()
        ):
            yield operation, source, 1.0, call(x)


def _by_sieve(task: Task, x: Any, counted: int, found: dict[tuple[str, str], Tally]) -> None:
    spec, dtype = task.activation.spec, x.dtype
    exact = truth(spec, x, sieve)
    near = near_a_zero(spec, x)
    for operation, source, dy, result in _results(task, x):
        tally = found.setdefault((operation, source), Tally())
        right = exact["derivative"] * dy if operation == "backward" else exact[operation]
        off: Any = slice(counted)
        if dtype == np.float32 and tally.worst_ulp >= 0.5 and not near.any():
            # Of a result that is the truth rounded, it is known that it is not the worst: that spares most of the work.
            off = np.flatnonzero(result[:counted] != right[:counted].astype(dtype))
        case = x[off], result[off], right[off]
        errors = _errors(
            spec, operation, source, dy, *case, near[off], _threshold(tally, bound(spec, dtype, operation))
        )
        tally.count(*case, errors, counted)
        if source == OURS and operation != "backward" and task.among is None:
            pairs = _out_of_order(spec, operation, x, result, exact)
            tally.out_of_order += pairs.size
            if pairs.size:
                tally.out_of_order_at = str(x[pairs[0]])


def _by_ends(task: Task, x: Any, found: dict[tuple[str, str], Tally]) -> bool:
    """Check so many neighbours by their ends alone, and say whether that was enough.

    It is where they are far from all that bends, and each result is a constant, or one times x. There value and
    derivative of a block of the catalogue are monotone, and so are their distances to a constant or a multiple of x: no
    error between is larger than both at the ends.
    """
    least, most = np.sort(np.abs(x[[0, -1]].astype(np.float64)))
    own, alike = task.activation.spec.is_ours, np.signbit(x[0]) == np.signbit(x[-1])
    if not (own and alike and (most < OUTER[0] or OUTER[1] < least < most < np.inf)):
        return False
    spec, ends, wide, tallies = task.activation.spec, [0, -1], x.astype(np.float64), dict[tuple[str, str], Any]()
    exact = truth(spec, x[ends], sieve)
    for operation, source, dy, result in _results(task, x):
        if not ((result == result[0]).all() or (result == float(result[0]) / wide[0] * wide).all()):
            return False
        right = exact["derivative"] * dy if operation == "backward" else exact[operation]
        errors = _errors(spec, operation, source, dy, x[ends], result[ends], right, np.ones(2, bool), 0.0)
        if not (errors <= 0.5).all():
            return False
        tallies[operation, source] = result[ends], right, errors
    for key, (result, right, errors) in tallies.items():
        found.setdefault(key, Tally()).count(x[ends], result, right, errors, x.size)
    return True


def _errors(
    spec: Specification, operation: str, source: str, dy: float, x: Any, result: Any, right: Any, near: Any,
    threshold: float,
) -> Any:  # fmt: skip
    """Compute the distances of results from the truth; by long doubles where they are above a threshold."""
    dtype, wide = x.dtype, result.astype(np.float64)
    errors = quick_errors(wide, right, dtype)
    doubted = np.flatnonzero((errors > threshold) | near)
    if doubted.size:  # where a result is constant so is its error, and the first of many will do
        first = np.append(True, np.diff(right[doubted]) != 0) | np.append(True, np.diff(wide[doubted]) != 0)
        firsts = doubted[first]
        sure = truth(spec, x[firsts], by_long_doubles)["value" if operation == "value" else "derivative"]
        found_errors = testing.ulps(result[firsts], sure * dy, dtype)
        if operation != "value" and source == OURS and not spec.wide:
            _beside_a_kink(spec, x[firsts], result[firsts], dy, found_errors, by_long_doubles, testing.ulps)
        errors[doubted] = found_errors[np.cumsum(first) - 1]
    errors[_conventional(spec, x, operation, source)] = 0
    if operation == "backward" and source == OURS and spec.single:
        # A derivative that is subnormal in float32 has fewer digits than the product.
        with np.errstate(all="ignore"):
            beyond = np.maximum(1 - abs(dy) * 2.0**-149 / np.abs(wide - right), 0)  # NaN stays as wrong as it is
        errors = np.where(np.isfinite(beyond) & np.isfinite(errors), errors * beyond, errors)
    return errors


def _threshold(tally: Tally, limit: float) -> float:
    """Return the error that would change what is reported."""
    worse = tally.worst_ulp + MARGIN
    return worse if tally.worst_ulp > limit else min(worse, limit)


def quick_errors(result: Any, truth: Any, dtype: np.dtype[Any]) -> Any:
    """Compute the distances of results from float64 truth, as `testing.ulps` does, in a tenth of the time.

    Examples
    --------
    >>> quick_errors(np.array([1 + 2**-23, 0.0]), np.array([1, 2.0**-150]), np.dtype(np.float32)).tolist()
    [1.0, 0.5]
    """
    bits, smallest = FORMATS[dtype.name].significand, FORMATS[dtype.name].smallest
    exponent = truth.view(np.uint64) & np.uint64(0x7FF << 52)
    np.maximum(exponent, np.uint64((smallest + bits - 1 + 1023) << 52), out=exponent)
    np.subtract(np.uint64((2 * 1023 + bits - 1) << 52), exponent, out=exponent)
    errors = np.subtract(result, truth)
    np.abs(errors, out=errors)
    errors *= exponent.view(np.float64)  # 1 / ulp
    odd = ~np.isfinite(errors)
    if odd.any():
        errors[odd] = testing.ulps(result[odd], truth[odd].astype(np.longdouble), dtype)
    return errors


def _conventional(spec: Specification, x: Any, operation: str, source: str) -> Any:
    """Return where a result is a convention: of others at kinks, infinities and NaN, of ours in `backward` there."""
    if source == OURS and operation != "backward":
        return np.zeros(x.shape, bool)
    beyond = np.isinf(x) if source == OURS else ~np.isfinite(x)
    return beyond | np.isin(x, np.array([at for at, _ in spec.kinks]).astype(x.dtype))


def _beside_a_kink(
    spec: Specification, x: Any, result: Any, dy: float, errors: Any, exact: Exact, distances: Any
) -> None:
    """Excuse a derivative that a neighbour should have: the place of a kink is rounded, as in x / 6 + 1 / 2 >= 1."""
    wrong = np.flatnonzero(errors > bound(spec, x.dtype, "backward"))
    ranks, one = rank(x[wrong]), np.array(1, f"u{x.itemsize}")
    for neighbours in (ranks - one, ranks + one) if wrong.size else ():
        slope = truth(spec, ranked(x.dtype, neighbours), exact)["derivative"]
        errors[wrong] = np.minimum(errors[wrong], distances(result[wrong], slope * dy, x.dtype))


def _out_of_order(spec: Specification, operation: str, x: Any, result: Any, exact: dict[str, Any]) -> Any:
    """Find neighbours whose results are in the wrong order, first by float64 truth and then by long doubles."""
    pairs = np.flatnonzero(_against(operation, result, exact))
    if pairs.size:
        x, result = (np.stack([a[pairs], a[pairs + 1]]) for a in (x, result))
        pairs = pairs[_against(operation, result, truth(spec, x, by_long_doubles))[0]]
    return pairs


def _against(operation: str, result: Any, exact: dict[str, Any]) -> Any:
    """Return between which neighbours along the first axis the results go against the truth."""
    slope = exact["derivative"]
    falling, rising = result[1:] < result[:-1], result[1:] > result[:-1]
    wrong = np.zeros(falling.shape, bool)
    # Most functions rise everywhere, so one of the two seldom happens at all.
    if falling.any():  # between neighbours the truth may rise by less than its own rounding
        wrong |= falling & ((slope[1:] > 0) & (slope[:-1] > 0) if operation == "value" else slope[1:] > slope[:-1])
    if rising.any():
        wrong |= rising & ((slope[1:] < 0) & (slope[:-1] < 0) if operation == "value" else slope[1:] < slope[:-1])
    return wrong


def _by_arbitrary_precision(task: Task, x: Any, counted: int, found: dict[tuple[str, str], Tally]) -> None:
    spec, dtype = task.activation.spec, x.dtype
    exact = truth(spec, x, by_mpmath)
    for operation, source, dy, result in _results(task, x):
        limit = bound(spec, dtype, operation)
        with mpmath.workdps(testing.checks.DIGITS):
            right = exact["derivative"] * dy if operation == "backward" else exact[operation]
        errors = _mpmath_ulps(result, right, dtype)
        # Near its zeros a derivative is promised to 2^-52, not to its last place, and so is a value that crosses 0.
        zeros = spec.crossings if operation == "value" else spec.zeros
        near = np.any([np.abs(x - zero) < 1 for zero in zeros], axis=0) & np.isfinite(x)
        absolute = np.abs(result - right.astype(np.float64)) / (abs(dy) * 2.0**-52) * limit
        errors = np.where(near, np.minimum(errors, absolute), errors)
        if operation != "value" and source == OURS and not spec.wide:
            _beside_a_kink(spec, x, result, dy, errors, by_mpmath, _mpmath_ulps)
        errors[_conventional(spec, x, operation, source)] = 0
        found.setdefault((operation, source), Tally()).count(x, result, right, errors)


def _mpmath_ulps(result: Any, exact: Any, dtype: np.dtype[Any]) -> Any:
    with mpmath.workdps(testing.checks.DIGITS):
        return np.array([testing.ulp_distance(y, t, dtype) for y, t in zip(result.tolist(), exact, strict=True)])
