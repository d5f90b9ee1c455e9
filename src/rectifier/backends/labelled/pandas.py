"""pandas: frames, Series, indexes and extension arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...functions import arguments, dtypes
from ...functions.call import Call
from . import columns
from .columns import Column, Container

_Arrow: Any = getattr(pd.arrays, "ArrowExtensionArray", ())


def _dtype_of(dtype: Any) -> np.dtype[Any] | None:
    """Return NumPy's dtype of the numbers behind a dtype of pandas; None of other packages', which may have units."""
    if isinstance(dtype, np.dtype):
        return dtype
    if type(dtype).__module__.partition(".")[0] != "pandas":
        return None
    own = dtype.subtype if isinstance(dtype, pd.SparseDtype) else getattr(dtype, "numpy_dtype", None)
    return own if isinstance(own, np.dtype) else None


def _require_real(dtype: Any, name: str, function: str) -> None:
    """Refuse a dtype whose numbers have no row in the table of dtypes, in the words of pandas."""
    own = _dtype_of(dtype)
    if own is not None and dtype.kind in "iuf":
        dtypes.require_real(own, name, function)
    elif isinstance(dtype, pd.ArrowDtype):
        cast = {"b": "uint8[pyarrow]", "M": "", "m": ""}.get(dtype.kind, "double[pyarrow]")
        advice = f": use {name}.astype({cast!r})" if cast else ""
        raise TypeError(f"{function}: {name} has dtype {dtype}; it takes integers and float16 to float64{advice}")
    elif isinstance(dtype, pd.BooleanDtype):
        raise TypeError(
            f"{function}: {name} has dtype {dtype}; it takes integers and float16 to float64: "
            f"use {name}.astype('UInt8')"
        )
    else:
        dtypes.require_real(dtype, name, function)
        raise TypeError(
            f"{function}: {name} has dtype {dtype}; it takes NumPy's and pandas' own: use {name}.to_numpy()"
        )


class _Column(Column):
    def __init__(self, function: str, name: str, values: Any) -> None:
        dtype = _dtype_of(values.dtype)
        _require_real(values.dtype, name, function)
        assert dtype is not None
        self.values, self.dtype = values, dtype
        self.sparse = isinstance(values.dtype, pd.SparseDtype)
        self.keeps_missing = not self.sparse and not isinstance(values, np.ndarray)

    def numbers(self) -> Any:
        if not self.keeps_missing:
            return np.asarray(self.values)
        return self.values.to_numpy(dtype=self.dtype, na_value=self.dtype.type(0))

    def missing(self) -> Any:
        missing = np.asarray(self.values.isna()) if self.keeps_missing else None
        return missing if missing is not None and missing.any() else None

    def like(self, numbers: Any, missing: Any) -> Any:
        if self.sparse:
            return pd.arrays.SparseArray(numbers, fill_value=self.values.fill_value)
        if not self.keeps_missing:
            return numbers
        if isinstance(self.values, _Arrow):
            import pyarrow as pa

            return pd.arrays.ArrowExtensionArray(pa.array(numbers, mask=missing))
        if numbers.dtype == np.float16:  # as pandas does: it has no Float16
            numbers = numbers.astype(np.float32)
        missing = np.zeros(numbers.shape, bool) if missing is None else missing
        kind = pd.arrays.IntegerArray if numbers.dtype.kind in "iu" else pd.arrays.FloatingArray
        return kind(numbers, missing)

    def stored(self, columns: Sequence[Column]) -> Column | None:
        if not all(isinstance(column, _Column) and column.sparse for column in columns):
            return None
        same = all(column.values.sp_index.equals(self.values.sp_index) for column in columns)  # type: ignore[attr-defined]
        return _Stored(self.values) if same else None


class _Stored(Column):
    """The elements that a sparse array stores, and behind them the number that fills the rest."""

    keeps_missing = False

    def __init__(self, values: Any) -> None:
        self.values, self.dtype = values, values.dtype.subtype

    def numbers(self) -> Any:
        return np.append(self.values.sp_values, self.dtype.type(self.values.fill_value))

    def missing(self) -> Any:
        return None

    def like(self, numbers: Any, missing: Any) -> Any:
        index, stored, fill = self.values.sp_index, numbers[:-1], numbers[-1]
        if hasattr(pd.arrays.SparseArray, "from_indices"):
            places = index.to_int_index().indices
            return pd.arrays.SparseArray.from_indices(
                stored, places, index.length, fill_value=fill, kind=self.values.kind
            )
        return pd.arrays.SparseArray(stored, sparse_index=index, fill_value=fill)


class _Block(Column):
    """All numbers of a frame."""

    keeps_missing = False

    def __init__(self, frame: Any) -> None:
        self.values = frame.to_numpy()
        self.dtype = self.values.dtype

    def numbers(self) -> Any:
        return self.values

    def missing(self) -> Any:
        return None

    def like(self, numbers: Any, missing: Any) -> Any:
        return numbers


class _Array(Container):
    """A Series, an index or an extension array."""

    def __init__(self, function: str, name: str, array: Any) -> None:
        self.array, self.shape = array, (len(array),)
        numpy = isinstance(array.dtype, np.dtype)
        values = array.to_numpy() if numpy else getattr(array, "array", array)
        self.column = _Column(function, name, values)

    def part(self, place: int | None) -> Column:
        return self.column

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        (values,) = parts
        if isinstance(self.array, pd.Series):
            result = self.array._constructor(values, index=self.array.index, name=_name(self, others), copy=False)
            return _finished(result, self, others)
        if isinstance(self.array, pd.Index):
            return pd.Index(values, name=_name(self, others))
        return pd.array(values) if isinstance(values, np.ndarray) else values


class _Frame(Container):
    def __init__(self, function: str, name: str, frame: Any) -> None:
        self.array, self.shape = frame, frame.shape
        dtypes = [*frame.dtypes]
        for dtype, label in dict(zip(dtypes[::-1], frame.columns[::-1], strict=True)).items():
            _require_real(dtype, f"{name}[{label!r}]", function)
        self.whole = bool(dtypes) and isinstance(dtypes[0], np.dtype) and len(set(dtypes)) == 1
        if self.whole:
            return
        labels = (f"{name}[{label!r}]" for label in frame.columns)
        series = (frame.iloc[:, k] for k in range(len(dtypes)))
        self.columns = [_Array(function, n, one).column for n, one in zip(labels, series, strict=True)]

    def part(self, place: int | None) -> Column:
        if not self.whole:
            assert place is not None
            return self.columns[place]
        if place is None:
            return _Block(self.array)
        return _Array("", "", self.array.iloc[:, place]).column

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        frame = self.array
        if len(parts) == 1 and np.ndim(parts[0]) == 2:
            result = frame._constructor(parts[0], index=frame.index, columns=frame.columns, copy=False)
        else:
            result = frame._constructor(dict(enumerate(parts)), index=frame.index)
            result.columns = frame.columns
        return _finished(result, self, others)


def _name(container: Any, others: list[Any]) -> Any:
    """Return the name that all have, as pandas does."""
    named = [other.array for other in others if hasattr(other.array, "name")] or [container.array]
    names = [array.name for array in named]
    return names[0] if all(name == names[0] for name in names) else None


def _finished(result: Any, container: Any, others: list[Any]) -> Any:
    """Pass on the attributes of the only labelled argument, as pandas does."""
    labelled = [other for other in others if isinstance(other.array, (pd.Series, pd.DataFrame))]
    return result.__finalize__(container.array) if len(labelled) < 2 else result


def _container(function: str, name: str, value: Any) -> Any:
    if isinstance(value, pd.DataFrame):
        return _Frame(function, name, value)
    if isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        return _Array(function, name, value)
    if type(value).__module__.partition(".")[0] == "pandas":
        raise TypeError(
            f"{function}: {name} is a {arguments.full_name(type(value))}; "
            "of pandas it takes frames, Series, indexes and extension arrays"
        )
    return value


def _aligned(function: str, given: dict[str, Any]) -> dict[str, Any]:
    """Align frames and Series by their labels: what one of them lacks is missing there."""
    labelled = {name: value for name, value in given.items() if isinstance(value, (pd.Series, pd.DataFrame))}
    if len({value.ndim for value in labelled.values()}) > 1:
        raise TypeError(
            f"{function}: it has frames and Series, and a Series may be a row or a column; pass frames, or arrays of "
            "NumPy, whose shape tells"
        )
    values = [*labelled.values()]
    if all(_same_axes(value, values[0]) for value in values[1:]):
        return given
    bare = [name for name, value in given.items() if name not in labelled and np.ndim(value)]
    if bare:
        raise ValueError(
            f"{function}: the labels of {' and '.join(labelled)} differ, and {bare[0]} has none by which to meet them; "
            "align them first"
        )
    if len(labelled) > 2 and not all(axis.is_unique for value in values for axis in value.axes):
        raise ValueError(
            f"{function}: the labels of {' and '.join(labelled)} differ, and some occur twice, so that nobody knows "
            "which belong together; align them first"
        )
    if len(labelled) == 2:
        (one, left), (two, right) = labelled.items()
        left, right = left.align(right, join="outer")
        return {**given, one: left, two: right}
    axes = [*values[0].axes]
    for other in values[1:]:
        axes = [a if a.equals(b) else a.union(b) for a, b in zip(axes, other.axes, strict=True)]
    places = dict(zip(("index", "columns"), axes, strict=False))
    return {**given, **{name: value.reindex(**places) for name, value in labelled.items()}}


def _same_axes(a: Any, b: Any) -> bool:
    return all(one.equals(other) for one, other in zip(a.axes, b.axes, strict=True))


def compute(call: Call) -> Any:
    """Compute a call; labels meet as in pandas' own ufuncs, gradients and rows need the same ones."""
    function, given = call.name, call.given
    if call.gradients or call.is_rowwise:
        _require_same_labels(function, given)
    containers = {name: _container(function, name, value) for name, value in given.items()}
    met = given if call.is_rowwise else _aligned(function, given)
    if met is not given:
        containers = {name: _container(function, name, value) for name, value in met.items()}
    return columns.compute(call, containers)


def _require_same_labels(function: str, given: dict[str, Any]) -> None:
    labelled = [(name, value) for name, value in given.items() if isinstance(value, (pd.Series, pd.DataFrame))]
    for name, value in labelled[1:]:
        first, other = labelled[0]
        if value.ndim == other.ndim and not _same_axes(value, other):
            raise ValueError(
                f"{function}: the labels of {first} and {name} differ; align them first, as by reindex_like"
            )
