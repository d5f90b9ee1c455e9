"""Rows of arrays: along one axis or several, moved to the end and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def as_rows(
    array: Any,
    axes: tuple[int, ...],
    permute: Callable[..., Any] = np.transpose,
    reshape: Callable[..., Any] = np.reshape,
) -> Any:
    """Move axes to the end, and make one of them unless they are one: the row; of no axes it is one element."""
    moved = _permuted(array, _order(array.ndim, axes), permute)
    if len(axes) == 1:
        return moved
    rest = array.ndim - len(axes)
    return reshape(moved, (*moved.shape[:rest], math.prod(moved.shape[rest:])))


def from_rows(
    rows: Any,
    axes: tuple[int, ...],
    shape: tuple[int, ...],
    permute: Callable[..., Any] = np.transpose,
    reshape: Callable[..., Any] = np.reshape,
) -> Any:
    """Undo `as_rows` of an array of a shape."""
    order = _order(len(shape), axes)
    moved = rows if len(axes) == 1 else reshape(rows, tuple(shape[k] for k in order))
    return _permuted(moved, tuple(order.index(k) for k in range(len(shape))), permute)


def _permuted(array: Any, order: tuple[int, ...], permute: Callable[..., Any]) -> Any:
    return array if order == tuple(range(len(order))) else permute(array, order)


def _order(dimensions: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return (*(k for k in range(dimensions) if k not in axes), *axes)
