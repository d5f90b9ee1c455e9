"""A block of the catalogue as data, and the directions in which it can be computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .words import T, where


def _block_s_own(*numbers: Any) -> Any:
    raise TypeError("words.read binds the formulas of a block here")


# The directions are formulas too, over these three of the block's.
value = derivative = mask_values = _block_s_own


class Direction(NamedTuple):
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


def _value_and_derivative(x, *parameters):
    return value(x, *parameters), derivative(x, *parameters)


# `!=` is true of NaN, so a NaN in x sets the bit.
def _with_mask(x, *parameters):
    off, _ = mask_values(*parameters)
    return value(x, *parameters), derivative(x, *parameters) != off


def _backward_from_mask(dy, mask, *parameters):
    off, on = mask_values(*parameters)
    d = where(mask, on, off)
    return where(d == T(0), T(0), dy * d)


VALUE = Direction("value", ("x",), ("y",), ("value",), _value)
DERIVATIVE = Direction("derivative", ("x",), ("d",), ("derivative",), _derivative)
BACKWARD = Direction("backward", ("dy", "x"), ("dx",), ("derivative",), _backward)
VALUE_AND_DERIVATIVE = Direction(
    "value_and_derivative", ("x",), ("y", "d"), ("value", "derivative"), _value_and_derivative
)
WITH_MASK = Direction("with_mask", ("x",), ("y", "mask"), ("value", "derivative", "mask_values"), _with_mask)
BACKWARD_FROM_MASK = Direction("backward_from_mask", ("dy", "mask"), ("dx",), ("mask_values",), _backward_from_mask)


class Block(NamedTuple):
    """One activation function, as its block in the catalogue states it. `elementwise` documents the fields."""

    name: str
    full_name: str  # with its module, unless that is this package
    module: str
    parameters: dict[str, float]
    value: Callable[..., Any]
    derivative: Callable[..., Any]
    mask_values: Callable[..., Any]
    y_determines: Callable[..., Any] | None
    exact: Callable[..., Any]
    special: tuple[tuple[float, float], ...]
    kinks: tuple[tuple[float, float], ...]
    ulp: float
    backward_from: tuple[str, ...]
    selects: bool
