"""Subclasses of ndarray, and masked arrays among them: results come out as they come out of a NumPy ufunc.

Where a call is a ufunc, NumPy sees to that. The functions here do it for the calls that are none: those with a mask,
those along a row, and the gradients that are summed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np


def is_masked(array: Any) -> bool:
    """Check whether an array may hide elements; ``numpy.ma`` takes milliseconds to import, and nobody may have."""
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(array, ma.MaskedArray)


def any_subclass(*arrays: Any) -> bool:
    """Check whether one of these is of a subclass of ndarray."""
    return any(isinstance(array, np.ndarray) and type(array) is not np.ndarray for array in arrays)


def as_given(arrays: Iterable[Any], given: Iterable[Any]) -> list[Any]:
    """Make scalars again of arrays that were made of numbers, where subclasses are: any stands above a number."""
    arrays = [*arrays]
    if not any_subclass(*arrays):
        return arrays
    return [
        array[()] if type(array) is np.ndarray and array.ndim == 0 and not isinstance(number, np.ndarray) else array
        for array, number in zip(arrays, given, strict=True)
    ]


def hidden(shape: tuple[int, ...], *operands: Any) -> Any:
    """Return the elements that one of the operands hides, as an array of bool; None if none can hide any."""
    masked = [np.ma.getmaskarray(array) for array in operands if is_masked(array)]
    if not masked:
        return None
    union = np.zeros(shape, np.bool_)
    for flags in masked:
        np.logical_or(union, flags, out=union)
    return union


def require_mask_in_out(function: str, operands: dict[str, Any], out: Any) -> None:
    """Refuse an `out` that would not keep what an operand hides, as an ndarray given to NumPy's ufuncs does not."""
    arrays = out if isinstance(out, tuple) else (out,)
    if all(array is None or is_masked(array) for array in arrays):
        return
    for name, operand in operands.items():
        if is_masked(operand):
            raise TypeError(
                f"{function}: {name} hides elements, which an out of ndarray would not; "
                "pass a numpy.ma.MaskedArray as out, or arrays that are filled"
            )


def answered(result: Any, out: Any, operands: Iterable[Any], hides: Any) -> Any:
    """Wrap a result in the type that a ufunc of these operands gives it; `hides` is what `hidden` gave.

    Parameters
    ----------
    result : ndarray
        Fresh, or the memory of `out`.
    out : array or None
        What the caller passed as `out`.
    operands : iterable of arrays
    hides : array of bool or None
    """
    like = _wrapping(operands) if out is None else out
    if like is None:
        return result[()] if result.ndim == 0 else result
    if type(like) is np.ndarray:
        return like
    answer = _wrapped(like, result if out is None else out, result.ndim == 0 and out is None)
    if not is_masked(answer):
        return answer if out is not None or np.shape(answer) == result.shape else result
    if hides is not None and result.ndim == 0 and out is None and hides:
        return np.ma.masked
    # Set, and not assigned to: NumPy's ufuncs too replace the mask of an `out`, also a hard one.
    answer._mask = np.zeros(result.shape, np.bool_) if hides is None else hides
    answer._sharedmask = False
    return answer


def _wrapping(operands: Iterable[Any]) -> Any:
    """Find the operand whose type a ufunc's result takes: the first of the highest priority; None for ndarray."""
    found, highest = None, -np.inf
    for operand in operands:
        if type(operand) is np.ndarray:
            if highest < 0:
                found, highest = None, 0.0
        elif isinstance(operand, np.ndarray):
            priority = getattr(operand, "__array_priority__", 0.0)
            if priority > highest or (priority == 0 and found is None):
                found, highest = operand, priority
    return found


def _wrapped(like: Any, array: Any, scalar: bool) -> Any:
    """Call ``__array_wrap__`` as NumPy does, which still takes the signature of before NumPy 2."""
    try:
        return like.__array_wrap__(array, None, scalar)
    except TypeError:
        return like.__array_wrap__(array)


def with_masks_of_their_own(results: Any) -> Any:
    """Copy the masks of what a ufunc made: NumPy gives a result the very mask of its operand.

    Hiding an element of the one would hide that of the other.
    """
    for result in results if isinstance(results, tuple) else (results,):
        if is_masked(result) and result is not np.ma.masked:
            result._mask = result._mask.copy()
    return results
