"""Gradients of arrays that were broadcast: each is summed to the shape of its array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import arguments, dtypes


def sum_to(gradient: Any, shape: Any, add: Callable[[Any, tuple[int, ...], Any], Any]) -> Any:
    """Sum a gradient over the axes along which its array was broadcast.

    Parameters
    ----------
    gradient : array
        Of any library.
    shape : tuple of int
        Of the array.
    add : callable
        Of the gradient, axes and the shape. It sums in float64 and rounds once to the gradient's dtype.
    """
    axes = arguments.broadcast_axes(gradient.shape, shape)
    return add(gradient, axes, shape) if axes else gradient


def add(gradient: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Sum an array of NumPy or CuPy in C order, which depends neither on threads nor on how the array lies."""
    whole = gradient if gradient.flags.c_contiguous else gradient.copy()
    with np.errstate(all="ignore"):  # inf - inf is NaN
        total = whole.sum(axis=axes, dtype=dtypes.summing(gradient.dtype), keepdims=True)
    return dtypes.cast(total.reshape(shape), gradient.dtype)


def summed(
    function: str,
    outputs: tuple[str, ...],
    gradients: tuple[Any, ...],
    shapes: tuple[tuple[int, ...], ...],
    out: Any,
    share: Callable[[Any, Any], bool] | None = None,
) -> tuple[Any, ...]:
    """Sum the gradients of a call, arrays of NumPy or CuPy, into `out` if there is one."""
    if out is not None:
        first = gradients[0]
        arguments.require_out(function, outputs, out, [*shapes], first.dtype, type(first), share)
    given = (None,) * len(outputs) if out is None else out
    results = []
    for gradient, shape, own in zip(gradients, shapes, given, strict=True):
        total = sum_to(gradient, shape, add)
        if own is not None:
            (np.asarray(own) if isinstance(own, np.ndarray) else own)[...] = total
        results.append(total if own is None else own)
    return tuple(results)
