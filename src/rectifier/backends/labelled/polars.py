"""Polars: Series, frames and expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ...functions import arguments
from ...functions.call import Call
from . import columns
from .columns import Column, Container

_DTYPES = {
    getattr(pl, name): np.dtype(name.lower())
    for name in (
        "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float16", "Float32", "Float64",
    )
    if hasattr(pl, name)
}  # fmt: skip


class _Column(Column):
    keeps_missing = True

    def __init__(self, function: str, name: str, series: Any) -> None:
        if series.dtype not in _DTYPES:
            cast = {pl.Boolean: "UInt8", pl.String: "Float64"}.get(series.dtype)
            cast = "Float64" if isinstance(series.dtype, pl.Decimal) else cast
            advice = f": use {name}.cast(pl.{cast})" if cast else ""
            raise TypeError(
                f"{function}: {name} has dtype {series.dtype}; it takes integers and float16 to float64{advice}"
            )
        self.series, self.dtype = series, _DTYPES[series.dtype]

    def numbers(self) -> Any:
        return self.series.fill_null(strategy="zero").to_numpy()

    def missing(self) -> Any:
        return self.series.is_null().to_numpy() if self.series.null_count() else None

    def like(self, numbers: Any, missing: Any) -> Any:
        if numbers.dtype == np.float16 and np.dtype(np.float16) not in _DTYPES.values():
            numbers = numbers.astype(np.float32)
        series = pl.Series(self.series.name, np.ascontiguousarray(numbers))
        if missing is None:
            return series
        return series.zip_with(~pl.Series(missing), pl.Series([None], dtype=series.dtype))


class _Series(Container):
    def __init__(self, function: str, name: str, series: Any) -> None:
        self.array, self.shape = series, (len(series),)
        self.column = _Column(function, name, series)

    def part(self, place: int | None) -> Column:
        return self.column

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        return parts[0].alias(self.array.name)


class _Frame(Container):
    whole = False

    def __init__(self, function: str, name: str, frame: Any) -> None:
        self.array, self.shape = frame, frame.shape
        self.columns = [_Column(function, f"{name}[{series.name!r}]", series) for series in frame.get_columns()]

    def part(self, place: int | None) -> Column:
        assert place is not None
        return self.columns[place]

    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        return pl.DataFrame([part.alias(name) for part, name in zip(parts, self.array.columns, strict=True)])


def _container(function: str, name: str, value: Any) -> Any:
    if isinstance(value, pl.DataFrame):
        return _Frame(function, name, value)
    if isinstance(value, pl.Series):
        return _Series(function, name, value)
    if type(value).__module__.partition(".")[0] == "polars":
        advice = f": use {name}.select({function}(pl.all()))" if isinstance(value, pl.LazyFrame) else ""
        raise TypeError(
            f"{function}: {name} is a {arguments.full_name(type(value))}; "
            f"of Polars it takes frames, Series and expressions{advice}"
        )
    return value


def _containers(function: str, given: dict[str, Any]) -> dict[str, Any]:
    frames = [(name, value) for name, value in given.items() if isinstance(value, pl.DataFrame)]
    for name, value in frames[1:]:
        first, other = frames[0]
        if value.columns != other.columns:
            raise ValueError(
                f"{function}: the columns of {first} and {name} differ; select the same ones, in one order"
            )
    return {name: _container(function, name, value) for name, value in given.items()}


def compute(call: Call) -> Any:
    """Compute a call; of expressions, return the expression. The row of an expression is its column."""
    if not any(isinstance(value, pl.Expr) for value in call.given.values()):
        return columns.compute(call, _containers(call.name, call.given))
    if call.is_rowwise:
        call.function(np.zeros(1), axis=call.axis)  # which refuses an axis that a column has not
    outputs = len(call.operation.outputs)
    elementwise = not (call.is_rowwise or call.gradients)
    if outputs == 1:
        return _expression(call, None, elementwise)
    return tuple(_expression(call, k, elementwise) for k in range(outputs))


def _expression(call: Call, output: int | None, elementwise: bool) -> Any:
    """Make an expression that makes the same call on the Series that come."""
    given = call.given
    expressions = {name: value for name, value in given.items() if isinstance(value, pl.Expr)}
    others = {name: value for name, value in given.items() if name not in expressions}
    for name, value in others.items():
        if isinstance(value, (pl.Series, pl.DataFrame)) or np.ndim(arguments.operand(call.name, name, value)):
            raise TypeError(
                f"{call.name}: {name} is a {arguments.full_name(type(value))}, and the call has expressions; it takes "
                f"those and numbers: make one of it by pl.lit(pl.Series({name}))"
            )

    def compute(series: Any) -> Any:
        result = call.on(dict(zip(expressions, series, strict=True)) | others)
        result = result if output is None else result[output]
        return result if isinstance(result, pl.Series) else result.item()

    scalar = output is not None and not elementwise and call.gradients[output] in others  # the gradient of a number
    return pl.map_batches([*expressions.values()], compute, is_elementwise=elementwise, returns_scalar=scalar)
