"""What a user may pass, made ready for a ufunc, or refused with the name of the argument and what it takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _dtypes
from ._block import Block


def is_foreign(array: Any) -> bool:
    """Say whether an array has its own way with ufuncs, as those of pandas, xarray and Dask do."""
    override = getattr(type(array), "__array_ufunc__", None)
    return override is not None and override is not np.ndarray.__array_ufunc__ and not isinstance(array, np.generic)


def operand(function: str, name: str, value: Any) -> Any:
    """Make an array of an array-like, leave a Python number to adapt to the arrays, refuse a dtype without a row."""
    if type(value) in (int, float):
        return value
    if is_foreign(value):
        for dtype in foreign_dtypes(value):
            _dtypes.require_real(dtype, name, function)
        return value
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is no array: {error}") from None
    _dtypes.require_real(array.dtype, name, function)
    return array


def foreign_dtypes(array: Any) -> list[Any]:
    """List the dtypes of an array, or of the columns of a frame."""
    if hasattr(array, "dtype"):
        return [array.dtype]
    dtypes = getattr(array, "dtypes", {})  # a mapping in xarray, a Series in pandas
    return [dtype for _, dtype in dtypes.items()]


def native(function: str, name: str, value: Any) -> Any:
    """Make a NumPy array, and refuse one whose library has its own way: a mask has no labels and no chunks."""
    if is_foreign(value):
        raise TypeError(
            f"{function}: {name} is a {type(value).__name__}; masks are for NumPy arrays: convert it, or work from x"
        )
    return np.asanyarray(operand(function, name, value))


def foreign_parameters(ufunc: np.ufunc, operands: list[Any], values: tuple[Any, ...]) -> list[Any]:
    """Give Python numbers the dtype of the arrays: pandas would make float64 of them, and of the result."""
    if not values:
        return []
    kinds = [
        np.result_type(*foreign_dtypes(array)) if is_foreign(array) else np.asarray(array).dtype for array in operands
    ]
    dtype = ufunc.resolve_dtypes((*kinds, *[kinds[0]] * len(values), *[None] * ufunc.nout))[0]
    return [np.array(value).astype(dtype)[()] if type(value) in (int, float) else value for value in values]


def resolve(ufunc: np.ufunc, operands: list[Any], parameters: int) -> Any:
    """Give the dtype in which NumPy would call `ufunc` on these operands; parameters and Python numbers adapt to it."""
    strong = next((array.dtype for array in operands if isinstance(array, np.ndarray)), None)
    kinds: list[Any] = [
        type(array) if strong and type(array) in (int, float) else np.asanyarray(array).dtype for array in operands
    ]
    return ufunc.resolve_dtypes((*kinds, *[strong or kinds[0]] * parameters, *[None] * ufunc.nout))[0]


def parameters(function: str, block: Block, values: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """Check parameters, and round them to the dtype of the call."""
    numbers = []
    for name, value in zip(block.parameters, values, strict=True):
        number = operand(function, name, value)
        if isinstance(number, np.ndarray) and not np.can_cast(number.dtype, dtype, "same_kind"):
            raise TypeError(f"{function}: {name} is {number.dtype}, which does not fit {dtype} arrays")
        numbers.append(np.asanyarray(number).astype(dtype, copy=False))
    return tuple(numbers)


def broadcast(function: str, names: tuple[str, ...], operands: tuple[Any, ...]) -> tuple[int, ...]:
    """Give the shape of the result."""
    try:
        return np.broadcast_shapes(*map(np.shape, operands))
    except ValueError:
        shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in zip(names, operands, strict=True))
        raise ValueError(f"{function}: shapes do not broadcast: {shapes}") from None


def require_out(function: str, outputs: tuple[str, ...], out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an `out` that is not exactly what the call would have made."""
    several = len(outputs) > 1
    if several and not isinstance(out, tuple):
        raise TypeError(
            f"{function}: out is a {type(out).__name__}; it takes a tuple of arrays for ({', '.join(outputs)})"
        )
    arrays = out if isinstance(out, tuple) else (out,)
    if len(arrays) != len(outputs):
        raise ValueError(f"{function}: out has {len(arrays)} arrays; it takes {len(outputs)} ({', '.join(outputs)})")
    for array in arrays:
        if not (several and array is None):
            _require_array(function, array, shape, dtype)
    given = [array for array in arrays if array is not None]
    if len(given) == 2 and np.may_share_memory(*given) and _share(*given):
        raise ValueError(f"{function}: the two arrays of out share memory")


def _require_array(function: str, out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"{function}: out is a {type(out).__name__}; it takes an array of shape {shape} and dtype {dtype} "
            "(parameters are passed by keyword)"
        )
    if out.dtype != dtype:
        raise TypeError(f"{function}: out has dtype {out.dtype}; the result has {dtype}")
    if out.shape != shape:
        raise ValueError(f"{function}: out has shape {out.shape}; the result has {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only")


def _share(a: Any, b: Any) -> bool:
    steps: Any = 10_000  # the question is NP-hard; the columns of one array take a few
    try:
        return np.shares_memory(a, b, steps)
    except np.exceptions.TooHardError:
        return True
