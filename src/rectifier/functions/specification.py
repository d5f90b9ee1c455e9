"""A block of the catalogue as data, and the operations in which it can be computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from ..formulas import T, bind, where
from ..formulas.text import describe
from . import dtypes

PACKAGE = __name__.partition(".")[0]  # whose functions have their names without a module


def _block_s_own(*numbers: Any) -> Any:
    raise TypeError("primitives.read binds the formulas of a block here")


# The operations are formulas too, over these three of the block's.
value = derivative = mask = _block_s_own


class Operation(NamedTuple):
    """What is computed from what; an operand called "mask" is one bit an element."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[str, ...]
    formula: Callable[..., Any]


def _value(x, *parameters):
    return value(x, *parameters)


def _derivative(x, *parameters):
    return derivative(x, *parameters)


# Select, do not multiply by zero: 0 * inf and 0 * NaN are NaN, and a unit that is off passes nothing on.
def _backward(dy, x, *parameters):
    d = derivative(x, *parameters)
    return where(d == T(0), T(0), dy * d)


def _backward_to_both(dy, x, *gate):
    d, e = derivative(x, *gate)
    return where(d == T(0), T(0), dy * d), where(e == T(0), T(0), dy * e)


def _value_and_derivative(x, *parameters):
    return value(x, *parameters), derivative(x, *parameters)


def _with_mask(x, *parameters):
    off, _, _ = mask(x, *parameters)
    return value(x, *parameters), where(off, T(0), T(1)) != T(0)


def _backward_from_mask(dy, bit, *parameters):
    _, low, high = mask(dy, *parameters)
    d = where(bit, high, low)
    return where(d == T(0), T(0), dy * d)


VALUE = Operation("value", ("x",), ("y",), ("value",), _value)
DERIVATIVE = Operation("derivative", ("x",), ("d",), ("derivative",), _derivative)
BACKWARD = Operation("backward", ("dy", "x"), ("dx",), ("derivative",), _backward)
BACKWARD_TO_BOTH = Operation("backward", ("dy", "x"), ("dx", "dgate"), ("derivative",), _backward_to_both)
VALUE_AND_DERIVATIVE = Operation(
    "value_and_derivative", ("x",), ("y", "d"), ("value", "derivative"), _value_and_derivative
)
WITH_MASK = Operation("with_mask", ("x",), ("y", "mask"), ("value", "mask"), _with_mask)
BACKWARD_FROM_MASK = Operation("backward_from_mask", ("dy", "mask"), ("dx",), ("mask",), _backward_from_mask)


class Bounds(NamedTuple):
    """Largest errors in units in the last place."""

    float32: float
    float64: float
    float32_derivative: float
    float64_derivative: float


class RowBlock(NamedTuple):
    """A row-wise function, as its block in the catalogue states it."""

    name: str
    value: Callable[..., Any]  # of x, the peak of its row, e = exp(x - peak), and the sum of e along the row less 1
    weight: Callable[..., Any]  # of dy and y: what backward sums along a row
    backward: Callable[..., Any]  # of dy, y and that sum
    exact: Callable[..., Any]  # the textbook form, of mathematics and an array of rows
    ulp: tuple[float, float]  # in float32 and float64

    @property
    def uses_exponentials(self) -> bool:
        """Whether the value is made of e, and not of its sum alone."""
        return re.search(r"\be\b", describe(self.value)) is not None


class Block(NamedTuple):
    """One activation function, as its block in the catalogue states it. `elementwise` documents the fields."""

    name: str
    full_name: str  # with its module, unless that is this package
    module: str
    parameters: dict[str, float]
    value: Callable[..., Any]
    derivative: Callable[..., Any]
    mask: Callable[..., Any]
    y_determines: Callable[..., Any] | None
    exact: Callable[..., Any]
    special: tuple[tuple[float, float], ...]
    kinks: tuple[tuple[float, float], ...]
    zeros: tuple[float, ...]
    ulp: Bounds
    backward_from: tuple[str, ...]
    selects: bool
    wide: bool
    unrounded: tuple[str, ...] = ()

    @property
    def gated(self) -> bool:
        """Say whether it is of two arrays, whose derivatives then stand where others have a mask as well."""
        return self.mask is self.derivative

    def named(self, operation: Operation) -> str:
        """Give the name of a operation's call, for errors."""
        return self.name if operation is VALUE else f"{self.name}.{operation.name}"

    def regrouped(
        self, arrays: tuple[Any, ...], values: tuple[Any, ...], names: tuple[str, ...]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, ...]]:
        """Give what promotes and broadcasts as an array does, what adapts to it, and the arrays' names.

        The gate of a gated block stands among the parameters, and is an equal of x.
        """
        return ((*arrays, *values), (), (*names, *self.parameters)) if self.gated else (arrays, values, names)

    def working(self, dtype: str) -> type[np.generic]:
        """Give the type that the formulas are computed in, for arrays of a dtype."""
        working = dtypes.WORKING[dtype]
        return np.float64 if self.wide and working is np.float32 else working


def read(
    block: Block,
    operation: Operation,
    primitives: Mapping[str, Any],
    compile_primitive: Callable[[FunctionType], Any] = lambda formula: formula,
) -> FunctionType:
    """Give `operation` of `block` in the reading that `primitives` stand for: a formula over the block's formulas."""
    parts = {
        part: compile_primitive(bind(getattr(block, part), primitives, compile_primitive)) for part in operation.parts
    }
    return bind(operation.formula, {**primitives, **parts}, compile_primitive)
