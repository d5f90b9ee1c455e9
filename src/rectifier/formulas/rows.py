"""Formulas and sums that all row-wise functions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from . import T, bind, exp, fma, where
from .smooth.single import exp_in_row

SUMMED = 8  # numbers of a row that an array library itself sums: no order of so few matters


def exp_of_difference(x: Any, peak: Any) -> Any:
    """Compute exp(x - peak): a formula.

    An exponent's rounding error is a relative one of its exponential: 18 units in the last place at exp(-18).
    """
    d = x - peak
    less = d - x
    return exp(d, (x - (d - less)) - (peak + less))


def exponential(x: Any, peak: Any) -> Any:
    """Compute exp(x - peak), and 1 where that is exact: a formula. An infinite peak's own is NaN, and stays so."""
    return where(x - peak == T(0), T(1), exp_of_difference(x, peak))


def difference_of_product(x: Any, scale: Any, peak: Any, tail: Any) -> tuple[Any, Any]:
    """Compute x scale - peak - tail in two numbers, where peak and tail are the product of one x: a formula.

    A product of float64 has twice the bits, and the largest of a row may be far above their differences. The difference
    of finite products may be -inf.
    """
    product = x * scale
    d = product - peak
    less = d - product
    lost = (product - (d - less)) - (peak + less)
    more = lost + (fma(x, scale, -product) - tail)
    whole = d + more
    kept = whole - d
    rest = (d - (whole - kept)) + (more - kept)
    finite = d - d == T(0)
    return where(finite, whole, d), where(finite, rest, T(0))


def of_product(x: Any, scale: Any, peak: Any, tail: Any) -> Any:
    """Compute x scale - peak - tail: a formula."""
    whole, _ = difference_of_product(x, scale, peak, tail)
    return whole


def exponential_of_product(x: Any, scale: Any, peak: Any, tail: Any) -> Any:
    """Compute exp(x scale - peak - tail), and 1 where that is exact: a formula."""
    whole, rest = difference_of_product(x, scale, peak, tail)
    return where((whole == T(0)) & (rest == T(0)), T(1), exp(whole, rest))


def exponential_of_equal(x: Any, peak: Any) -> Any:
    """Compute exp(x - peak), and 1 of what is the peak, if that is infinite, too: a formula."""
    return where(x == peak, T(1), exp_of_difference(x, peak))


def exponential_of_pairs(x: Any, peak: Any) -> Any:
    """Compute exp(x - peak) where differences have tails: a formula."""
    return exp(x - peak)


def exponential_in_row(x: Any, peak: Any) -> Any:
    """Compute exp(x) by a power of two that all numbers of a row have in common: a formula of shares."""
    return exp_in_row(x, peak)  # type: ignore[no-untyped-call]


def reciprocal_of_sum(whole: Any) -> Any:
    """Compute what shares are of: 1 by the sum: a formula."""
    return T(1) / whole


def two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    """Add, and give what rounding took: D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2."""
    total = x + y
    kept = total - x
    return total, (x - (total - kept)) + (y - kept)


def margin(x: Any, peak: Any, threshold: Any) -> Any:
    """Compute by how much x - peak exceeds a threshold, and what rounding took from that: a formula."""
    d, lost = two_sum(x, -peak)
    over, more = two_sum(d, -threshold)
    return over, lost + more


def excess(x: Any, peak: Any, threshold: Any, rest: Any) -> Any:
    """Compute by how much x - peak exceeds a threshold of two numbers, and 0 where it does not: a formula.

    Of an infinite difference nothing is computed but that it is below.
    """
    over, more = margin(x, peak, threshold)
    y = (over - rest) + more
    return where(x - peak < threshold - T(2.0**-30), T(0), where(y <= T(0), T(0), y))


def part_of(formula: Any, k: int) -> Any:
    """Return the formula of one of the results of a formula of two."""
    return FunctionType((_first_of, _second_of)[k].__code__, {"formula": formula})


def _first_of(dy: Any, y: Any) -> Any:
    first, _ = formula(dy, y)  # type: ignore[name-defined]  # noqa: F821
    return first


def _second_of(dy: Any, y: Any) -> Any:
    _, second = formula(dy, y)  # type: ignore[name-defined]  # noqa: F821
    return second


def sum_by_halves(xp: Any, x: Any, axis: int = -1) -> Any:
    """Sum along an axis, which stays, with what rounding takes at each halving: whatever the library's own sum does.

    XLA adds 300,000 numbers one after the other on a CPU.
    """
    if x.shape[axis] <= SUMMED:
        return xp.sum(x, axis=axis, keepdims=True)
    total, lost = sum_in_two(x, axis)
    return xp.where(lost == lost, total + lost, total)  # an infinite sum is what it would be without care


def linear_sum(x: Any, axis: int = -1) -> Any:
    """Sum as `sum_by_halves` does, and select nothing: JAX transposes what is linear, and no comparison is."""
    total, lost = sum_in_two(x, axis)
    return total + lost


def sum_in_two(x: Any, axis: int = -1) -> tuple[Any, Any]:
    """Sum along an axis, which stays; return the sum and what rounding took from it."""
    length = x.shape[axis]
    before = (slice(None),) * (axis % len(x.shape))

    def part(array: Any, start: int, stop: int) -> Any:
        return array[(*before, slice(start, stop))]

    lost: Any = None
    left: Any = None  # odd numbers, each of which is a sum of as many as are halved next
    left_lost: Any = 0
    while length > 1:
        half = length // 2
        if length % 2:
            last = part(x, length - 1, length)
            left, more = (last, 0) if left is None else two_sum(left, last)
            left_lost = left_lost + more + (0 if lost is None else part(lost, length - 1, length))
        carried = 0 if lost is None else part(lost, 0, half) + part(lost, half, 2 * half)
        x, more = two_sum(part(x, 0, half), part(x, half, 2 * half))
        lost, length = more + carried, half
    total, more = (x, 0) if left is None else two_sum(x, left)
    return total, (0 if lost is None else lost) + left_lost + more


class Arrays(NamedTuple):
    """Operations of an array library for functions that select.

    Attributes
    ----------
    xp : module
        With ``where`` and ``sum``.
    descending, cumulative : callable
        Sort an array, and add it up, along an axis.
    """

    xp: Any
    descending: Callable[[Any, int], Any]
    cumulative: Callable[[Any, int], Any]


def first_of_largest(arrays: Arrays, words: Mapping[str, Any], x: Any, peak: Any, axis: int = -1) -> Any:
    """Compute 1 for the first of the largest of each row, 0 for all else."""
    zero, one, where = words["T"](0), words["T"](1), arrays.xp.where
    top = x == peak
    return where(top & (arrays.cumulative(where(top, one, zero), axis) == one), one, zero)


def excess_of_each(arrays: Arrays, words: Mapping[str, Any], x: Any, peak: Any, axis: int = -1) -> Any:
    """Compute by how much each x exceeds the threshold of its row, over which a sum of 1 lies.

    The threshold is that of a sorted row, corrected twice by what rounding took. A. F. T. Martins and R. F. Astudillo,
    "From softmax to sparsemax: a sparse model of attention and multi-label classification", ICML 2016.
    """
    zero, one, where = words["T"](0), words["T"](1), arrays.xp.where

    def count(condition: Any) -> Any:
        return arrays.xp.sum(where(condition, one, zero), axis=axis, keepdims=True)

    d = arrays.descending(x - peak, axis)
    places = arrays.cumulative(where(d == d, one, one), axis)
    held = one + places * d > arrays.cumulative(d, axis)
    threshold = (sum_by_halves(arrays.xp, where(held, d, zero), axis) - one) / count(held)
    over, more = bind(margin, words)(x, peak, threshold)
    near, rest = x - peak >= threshold - words["T"](2.0**-30), zero
    for _ in range(2):
        above = near & ((over - rest) + more > zero)
        total, lost = sum_in_two(where(above, over, zero), axis)
        beyond, rounded = two_sum(total, -one)
        tails = arrays.xp.sum(where(above, more, zero), axis=axis, keepdims=True)
        rest = (beyond + (rounded + (lost + tails))) / count(above)
    return bind(excess, words)(x, peak, threshold, rest)


PARTS = {"first": first_of_largest, "excess": excess_of_each}  # by the names that blocks have for them
