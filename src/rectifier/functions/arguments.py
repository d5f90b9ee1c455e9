"""What a user may pass, made ready for a ufunc, or refused with the name of the argument and what it takes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import dtypes, subclasses


def is_foreign(array: Any) -> bool:
    """Return whether the array's type overrides ``__array_ufunc__`` (pandas, xarray, Dask)."""
    override = getattr(type(array), "__array_ufunc__", None)
    return override is not None and override is not np.ndarray.__array_ufunc__ and not isinstance(array, np.generic)


def full_name(kind: type) -> str:
    """Return the name of a type with that of its library."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def shape_of(array: Any) -> tuple[Any, ...]:
    """Return the shape of an array-like. ``np.shape`` asks the array's library, which may have no such function."""
    shape = getattr(array, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else np.shape(array)  # PyTorch's is a tuple that shows otherwise


def is_python_number(value: Any) -> bool:
    """Return whether a Python number adapts to the dtype of the arrays; larger integers are objects to NumPy."""
    return type(value) is float or (type(value) is int and -(2**63) <= value < 2**64)


def operand(function: str, name: str, value: Any) -> Any:
    """Make an array of an array-like, leave a Python number to adapt to the arrays, refuse a dtype without a row."""
    if is_python_number(value):
        return value
    if is_foreign(value):
        for dtype in _foreign_dtypes(value):
            dtypes.require_real(dtype, name, function)
        return value
    if getattr(type(value), "__array_ufunc__", np.ndarray) is None:
        kind = full_name(type(value))
        raise TypeError(f"{function}: {name} is a {kind}, which refuses ufuncs: pass a view or a copy as an ndarray")
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is no array: {error}") from None
    if array.dtype == object and array.ndim == 0 and not isinstance(value, (np.ndarray, np.generic, int)):
        kind, dense = full_name(type(value)), to_numpy(name, value)
        if dense is None:
            raise TypeError(f"{function}: {name} has dtype object, as NumPy sees no numbers in a {kind}; pass an array")
        raise TypeError(f"{function}: {name} is a {kind}, in which NumPy sees no numbers: use {dense}")
    dtypes.require_real(array.dtype, name, function)
    return array


def to_numpy(name: str, value: Any) -> str | None:
    """Return how an array of a library that is not served becomes NumPy's; None where nothing is known of it."""
    for method in ("toarray", "todense", "to_dense", "to_numpy"):
        if hasattr(value, method):
            data = getattr(value, "data", None)
            stored = isinstance(data, np.ndarray) and data.dtype != object and method != "to_numpy"
            where = f", or where the function of 0 is 0 what it stores, {name}.data" if stored else ""
            return f"{name}.{method}(){where}"
    return None


def _foreign_dtypes(array: Any) -> list[Any]:
    """List the dtypes of an array, or of the columns of a frame."""
    if hasattr(array, "dtype"):
        return [array.dtype]
    dtypes = getattr(array, "dtypes", {})  # a mapping in xarray, a Series in pandas
    return [dtype for _, dtype in dtypes.items()]


def resolve(selects: bool, operands: Iterable[Any]) -> np.dtype[Any]:
    """Return the dtype in which NumPy would call a ufunc of a function on these operands; parameters adapt to it.

    Python numbers adapt to the arrays. NumPy would make float32 of bfloat16 for them; here they adapt to any float.
    """
    operands = [*operands]
    own = [_own_dtype(array) for array in operands]
    strong: Any = next((dtype for dtype in own if dtype is not None), None)
    kinds: list[Any] = []
    for array, dtype in zip(operands, own, strict=True):
        if dtype is not None:
            kinds.append(dtype)
        elif strong is None:
            kinds.append(np.asarray(array).dtype)
        else:
            kinds.append(np.dtype(float) if type(array) is float and strong.kind in "iu" else strong)
    return dtypes.promoted(tuple(kinds), selects)


def holding(dtype: np.dtype[Any], values: tuple[Any, ...]) -> np.dtype[Any]:
    """Return the dtype of a call on integers that has parameters: floats as in ``np.exp``, if it cannot hold those."""
    if dtype.kind in "iu" and not all(_holds(dtype, value) for value in values):
        return np.dtype(np.exp.resolve_dtypes((dtype, None))[0].type)
    return dtype


def _holds(dtype: np.dtype[Any], value: Any) -> bool:
    if is_foreign(value):
        return all(np.can_cast(own, dtype, "safe") for own in _foreign_dtypes(value))
    array = np.asarray(value)
    if array.ndim:
        return np.can_cast(array.dtype, dtype, "safe")
    number = array[()]
    if array.dtype.kind not in "iuf" or not np.isfinite(number) or number != np.trunc(number):
        return False
    info = np.iinfo(dtype)  # of Python's integers: as a float, the largest int64 would be 2**63
    return info.min <= int(number) <= info.max


def _own_dtype(array: Any) -> Any:
    """Return the dtype of an array; None for a Python number, which adapts."""
    if isinstance(getattr(array, "dtype", None), np.dtype):
        return array.dtype
    return np.result_type(*_foreign_dtypes(array)) if is_foreign(array) else None


@functools.lru_cache(maxsize=256, typed=True)
def _number(value: Any, dtype: np.dtype[Any]) -> Any:
    real = isinstance(value, np.generic) and value.dtype.name in dtypes.WORKING
    if not real and not is_python_number(value):
        raise TypeError
    if value == 0:
        value = 0  # 0.0 and -0.0 share an entry of the cache, and would share whichever came first
    if dtype.name == "bfloat16":
        value = float(value)  # ml_dtypes makes float32 of an integer first
    number = dtypes.cast(np.array(value), dtype)
    number.flags.writeable = False
    return number


def number(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a parameter as an array of `dtype`; a ufunc takes that 250 ns sooner than a Python float.

    Raises
    ------
    TypeError
        If it is neither a number nor an array of just that dtype.
    """
    if type(value) is np.ndarray:
        if value.dtype is dtype:
            return value
        raise TypeError
    return _number(value, dtype)


def fitting(function: str, name: str, parameter: Any, dtype: Any) -> Any:
    """Round one parameter, a number or an array, to the dtype of the call."""
    if is_python_number(parameter):
        return number(parameter, dtype)
    if is_foreign(parameter) and not isinstance(getattr(parameter, "dtype", None), np.dtype):
        return parameter
    if parameter.ndim == 0 and dtype.kind in "iu":  # `holding` has seen that it is an integer of this dtype
        return number(int(parameter), dtype)
    if not np.can_cast(parameter.dtype, dtype, "same_kind"):
        raise TypeError(f"{function}: {name} is {parameter.dtype}, which does not fit {dtype} arrays")
    if type(parameter) is np.ndarray and parameter.ndim == 0:
        return number(parameter[()], dtype)
    return dtypes.cast(parameter, dtype)


def broadcast(function: str, operands: dict[str, Any]) -> tuple[Any, ...]:
    """Return the shape of the result, of any number of dimensions: NumPy's own functions take 32 at most.

    A side that Dask does not know is NaN, and is taken to be that of the others.
    """
    shapes = {name: tuple(getattr(array, "shape", ())) for name, array in operands.items()}
    distinct = {*shapes.values()} - {()}
    if len(distinct) <= 1:
        return distinct.pop() if distinct else ()
    result = []
    for sides in itertools.zip_longest(*(shape[::-1] for shape in distinct), fillvalue=1):
        known = {side for side in sides if side != 1 and side == side}
        if len(known) > 1:
            text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{function}: shapes do not broadcast: {text}")
        result.append(known.pop() if known else next((side for side in sides if side != side), 1))
    return tuple(result[::-1])


def may_be_equal(shape: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Return whether two shapes are equal where both are known; a side that Dask does not know is NaN."""
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(a == b or a != a or b != b for a, b in pairs)


def broadcasts_to(shape: tuple[Any, ...], whole: tuple[Any, ...]) -> bool:
    """Return whether a shape broadcasts to another; a side that Dask does not know is NaN."""
    pairs = zip(shape[::-1], whole[::-1], strict=False)
    return len(shape) <= len(whole) and all(a in (1, b) or a != a or b != b for a, b in pairs)


def broadcast_axes(whole: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """List the axes of a result along which an array of a shape was broadcast; sides of Dask's may be unknown."""
    lead = len(whole) - len(shape)
    return tuple(k for k, side in enumerate(whole) if k < lead or shape[k - lead] == 1 != side)


def require_out(
    function: str,
    outputs: tuple[str, ...],
    out: Any,
    shape: tuple[int, ...] | list[tuple[int, ...]],
    dtype: Any,
    kind: Any = np.ndarray,
    share: Callable[[Any, Any], bool] | None = None,
) -> None:
    """Refuse an `out` that is not exactly what the call would have made: arrays of this kind, shape and dtype.

    The shape is that of all outputs, or a list has one for each.
    """
    several = len(outputs) > 1
    if several and not isinstance(out, tuple):
        raise TypeError(
            f"{function}: out is a {type(out).__name__}; it takes a tuple of arrays for ({', '.join(outputs)})"
        )
    arrays = out if isinstance(out, tuple) else (out,)
    if len(arrays) != len(outputs):
        raise ValueError(f"{function}: out has {len(arrays)} arrays; it takes {len(outputs)} ({', '.join(outputs)})")
    shapes = shape if isinstance(shape, list) else [shape] * len(outputs)
    for array, own in zip(arrays, shapes, strict=True):
        if not (several and array is None):
            _require_array(function, array, own, dtype, kind)
    given = [array for array in arrays if array is not None]
    if len(given) == 2 and (share or share_memory)(*given):
        raise ValueError(f"{function}: the two arrays of out share memory")


def _require_array(function: str, out: Any, shape: tuple[int, ...], dtype: Any, kind: Any) -> None:
    if not isinstance(out, kind) or (kind is np.ndarray and is_foreign(out)):  # of a quantity ufuncs know the unit
        raise TypeError(
            f"{function}: out is a {full_name(type(out))}; it takes a {full_name(kind)} of shape {shape} and dtype "
            f"{dtype} (parameters are passed by keyword)"
        )
    if not (out.dtype == dtype or np.can_cast(dtype, out.dtype, "equiv")):  # in either byte order
        raise TypeError(f"{function}: out has dtype {out.dtype}; the result has {dtype}")
    if out.shape != shape:
        raise ValueError(f"{function}: out has shape {out.shape}; the result has {shape}")
    if not getattr(out.flags, "writeable", True):  # CuPy has no read-only arrays
        raise ValueError(f"{function}: out is read-only")


def refuse_masked(function: str, name: str, value: Any) -> None:
    """Refuse a masked array beside those of a library that has none."""
    if subclasses.is_masked(value):
        raise TypeError(
            f"{function}: {name} is a masked array, and the call has arrays of a library that hides no elements; "
            f"pass {name}.filled(number), or take all to NumPy"
        )


def share_memory(a: Any, b: Any) -> bool:
    """Return whether two arrays of NumPy have a byte in common."""
    steps: Any = 10_000  # the question is NP-hard; the columns of one array take a few
    try:
        return np.shares_memory(a, b, steps)
    except np.exceptions.TooHardError:
        return True
