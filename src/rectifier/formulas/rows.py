"""Formulas and sums that all row-wise functions share."""

from __future__ import annotations

from typing import Any

from . import T, exp, where

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


def exponential_of_pairs(x: Any, peak: Any) -> Any:
    """Compute exp(x - peak) where differences have tails: a formula."""
    return exp(x - peak)


def two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    """Add, and give what rounding took: D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2."""
    total = x + y
    kept = total - x
    return total, (x - (total - kept)) + (y - kept)


def sum_by_halves(xp: Any, x: Any, axis: int = -1) -> Any:
    """Sum along an axis, which stays, with what rounding takes at each halving: whatever the library's own sum does.

    XLA adds 300,000 numbers one after the other on a CPU.
    """
    length = x.shape[axis]
    if length <= SUMMED:
        return xp.sum(x, axis=axis, keepdims=True)
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
    lost = lost + left_lost + more
    return xp.where(lost == lost, total + lost, total)  # an infinite sum is what it would be without care
