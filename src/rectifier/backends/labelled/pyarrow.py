"""PyArrow: arrays, chunked or not, and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ...functions import arguments
from ...functions.call import Call
from . import columns
from .columns import Column, Container


class _Column(Column):
    keeps_missing = True

    def __init__(self, function: str, name: str, array: Any) -> None:
        kind = array.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            cast = "uint8" if pa.types.is_boolean(kind) else "float64"
            castable = pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_string(kind)
            advice = f": use {name}.cast(pyarrow.{cast}())" if castable else ""
            raise TypeError(f"{function}: {name} has type {kind}; it takes integers and float16 to float64{advice}")
        self.array, self.dtype = array, np.dtype(kind.to_pandas_dtype())

    def numbers(self) -> Any:
        array = self.array
        if array.null_count:
            array = array.fill_null(pa.scalar(self.dtype.type(0), type=array.type))
        numbers = array.to_numpy() if isinstance(array, pa.ChunkedArray) else array.to_numpy(zero_copy_only=False)
        return numbers.astype(self.dtype, copy=False)

    def missing(self) -> Any:
        if not self.array.null_count:
            return None
        missing = self.array.is_null()
        return missing.to_numpy() if isinstance(missing, pa.ChunkedArray) else missing.to_numpy(zero_copy_only=False)

    def like(self, numbers: Any, missing: Any) -> Any:
        return pa.array(np.ascontiguousarray(numbers), mask=missing)


class _Array(Container):
    def __init__(self, function: str, name: str, array: Any) -> None:
        self.array, self.shape = array, (len(array),)
        self.column = _Column(function, name, array)

    def part(self, place: int | None) -> Column:
        return self.column

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        return pa.chunked_array(parts) if isinstance(self.array, pa.ChunkedArray) else parts[0]


class _Table(Container):
    whole = False

    def __init__(self, function: str, name: str, table: Any) -> None:
        self.array, self.shape = table, (table.num_rows, table.num_columns)
        named = zip(table.schema.names, table.columns, strict=True)
        self.columns = [_Column(function, f"{name}[{label!r}]", column) for label, column in named]

    def part(self, place: int | None) -> Column:
        assert place is not None
        return self.columns[place]

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        fields = [
            field.with_type(part.type).with_nullable(field.nullable or part.null_count > 0)
            for field, part in zip(self.array.schema, parts, strict=True)
        ]
        return type(self.array).from_arrays(parts, schema=pa.schema(fields, self.array.schema.metadata))


def _containers(function: str, given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    columns_of: dict[str, Any] = {}
    for name, value in given.items():
        made[name] = value
        if isinstance(value, (pa.Table, pa.RecordBatch)):
            columns_of[name] = value.schema.names
            made[name] = _Table(function, name, value)
        elif isinstance(value, (pa.Array, pa.ChunkedArray)):
            made[name] = _Array(function, name, value)
        elif type(value).__module__.partition(".")[0] == "pyarrow":
            advice = f": use {name}.as_py()" if isinstance(value, pa.Scalar) else ""
            raise TypeError(
                f"{function}: {name} is a {arguments.full_name(type(value))}; "
                f"of PyArrow it takes arrays and tables{advice}"
            )
    for name, labels in columns_of.items():
        first = next(iter(columns_of))
        if labels != columns_of[first]:
            raise ValueError(
                f"{function}: the columns of {first} and {name} differ; select the same ones, in one order"
            )
    return made


def compute(call: Call) -> Any:
    """Compute a call."""
    return columns.compute(call, _containers(call.name, call.given))
