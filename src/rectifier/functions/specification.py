"""Specifications: blocks of the catalogue as data, and the operations that can be computed of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from ..formulas import T, bind, stored, where
from ..formulas.text import describe
from . import dtypes
from .required import Required

PACKAGE = __name__.partition(".")[0]  # whose functions have their names without a module


def _bound_later(*numbers: Any) -> Any:
    raise TypeError("`read` binds the formulas of a specification here")


# Operations are formulas too, over these three of the specification's.
value = derivative = mask = _bound_later


class Operation(NamedTuple):
    """A result computed from certain arrays; an operand called "mask" is one bit per element."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[str, ...]
    formula: Callable[..., Any]

    @property
    def method(self) -> str:
        """The name of the method that computes it; none for the value."""
        return {"value": "", "backward_from_mask": "backward"}.get(self.name, self.name)

    @property
    def makes_mask(self) -> bool:
        """Whether one of the results is a mask."""
        return "mask" in self.outputs

    @property
    def reads_mask(self) -> bool:
        """Whether one of the inputs is a mask."""
        return "mask" in self.inputs


def _value(x, *parameters):
    return value(x, *parameters)


def _derivative(x, *parameters):
    return derivative(x, *parameters)


# Select, do not multiply by zero: 0 * inf and 0 * NaN are NaN, and a unit that is off passes nothing on.
def _backward(dy, x, *parameters):
    d = derivative(x, *parameters)
    return where(d == T(0), T(0), dy * d)


def _backward_to_both(dy, x, *others):
    d, e = derivative(x, *others)
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
BACKWARD_FROM_Y = BACKWARD._replace(inputs=("dy", "y"))
VALUE_AND_DERIVATIVE = Operation(
    "value_and_derivative", ("x",), ("y", "d"), ("value", "derivative"), _value_and_derivative
)
WITH_MASK = Operation("with_mask", ("x",), ("y", "mask"), ("value", "mask"), _with_mask)
BACKWARD_FROM_MASK = Operation("backward_from_mask", ("dy", "mask"), ("dx",), ("mask",), _backward_from_mask)

# Of integers of eight bits that stand for numbers; no kernel computes it, but a table of the value (`tables`).
QUANTIZED = Operation("quantized", ("q",), ("out",), ("value",), _bound_later)


# The functions of a sum, over the formulas of the function that is applied to it. NumPy's sum has the dtype of x.
def _of_sum(x, b, *parameters):
    return value(stored(x + b), *parameters)


def _gradient_of_sum(x, b, *parameters):
    d = derivative(stored(x + b), *parameters)
    return d, d


def _mask_of_sum(x, b, *parameters):
    return mask(stored(x + b), *parameters)


def _backward_and_sum(dy, x, b, total, *parameters):
    d, _ = derivative(x, b, *parameters)
    dx = where(d == T(0), T(0), dy * d)
    return dx, total + stored(dx)


SUMS = "total", "sum"  # operands in float64: what was summed before an element, and with it
BACKWARD_AND_SUM = Operation(
    "backward_and_sum", ("dy", "x", "b", "total"), ("dx", "sum"), ("derivative",), _backward_and_sum
)

# Of rows, whose formulas the kernels put together.
ROWS = Operation("value", ("x",), ("y",), ("value",), _bound_later)
ROWS_BACKWARD = Operation("backward", ("dy", "y"), ("dx",), ("weight", "backward"), _bound_later)
ROWS_BACKWARD_TO_SINK = ROWS_BACKWARD._replace(inputs=("dy", "x"), outputs=("dx", "dsink"))
ROWS_BACKWARD_FROM_X = ROWS_BACKWARD._replace(inputs=("dy", "x"))

# Of losses, a number for each row of x.
LOSSES = Operation("value", ("x", "target"), ("loss",), (), _bound_later)
LOSSES_AND_GRADIENT = LOSSES._replace(name="value_and_gradient", outputs=("loss", "dx"))
LOSSES_BACKWARD = LOSSES._replace(name="backward", inputs=("dloss", "x", "target"), outputs=("dx",))


class Bounds(NamedTuple):
    """Largest errors in units in the last place."""

    float32: float
    float64: float
    float32_derivative: float
    float64_derivative: float


class Specification:
    """A function as its block in the catalogue states it. Its decorator documents the fields.

    Attributes
    ----------
    name, full_name, module : str
        The full name has the module, unless that is this package.
    parameters : dict
        Their defaults by their names.
    formulas : tuple of str
        Names of the fields that are formulas.
    operations : dict
        By the names of their loops.
    uniform : tuple of str
        Names of the operands that may be one number for a whole call. They stand behind the other inputs.
    """

    name: str
    full_name: str
    module: str
    parameters: dict[str, float]
    value: Callable[..., Any]
    exact: Callable[..., Any]  # the textbook form
    formulas: tuple[str, ...]
    operations: dict[str, Operation]
    uniform: tuple[str, ...]
    derivative: Callable[..., Any]
    ulp: Any  # the largest errors
    special: tuple[tuple[float, float], ...] = ()
    kinks: tuple[tuple[float, float], ...] = ()
    zeros: tuple[float, ...] = ()
    crossings: tuple[float, ...] = ()
    unrounded: tuple[str, ...] = ()
    backward_from: tuple[str, ...] = ("x",)
    has_ufuncs = True
    selects = False
    wide = False
    single = False
    full = False

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)
        self.uniform = tuple(self.parameters)

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this package's."""
        return self.module == PACKAGE

    @property
    def masks_of(self) -> str:
        """The full name of the function whose masks it makes."""
        return self.full_name

    @property
    def required(self) -> dict[str, float]:
        """Numbers for the parameters that have no defaults."""
        return {name: float(value) for name, value in self.parameters.items() if isinstance(value, Required)}

    def named(self, operation: Operation) -> str:
        """Return the name of the call of an operation, for errors."""
        return f"{self.name}.{operation.method}" if operation.method else self.name

    def operands(self, operation: Operation) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the names of the operands of a kernel: arrays, what may be one number, results."""
        return tuple(name for name in operation.inputs if name not in self.uniform), self.uniform, operation.outputs

    def stated(self) -> tuple[Callable[..., Any], ...]:
        """Return all formulas."""
        return tuple(getattr(self, name) for name in self.formulas if getattr(self, name) is not None)

    @property
    def flags(self) -> tuple[Any, ...]:
        """Fields that decide the results beside the formulas."""
        return self.selects, self.wide, self.single, self.full

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The names of the dtypes that it is computed in."""
        return tuple(dtypes.WORKING) if self.selects else dtypes.FLOATS

    def working(self, dtype: str) -> type[np.generic]:
        """Return the type that array libraries compute the formulas in, for arrays of a dtype."""
        working = dtypes.WORKING[dtype]
        return np.float64 if self.wide and working is np.float32 else working

    def compiled(self, dtype: str) -> type[np.generic]:
        """Return the type that kernels compute the formulas in, for arrays of a dtype."""
        return dtypes.WORKING[dtype] if self.single else self.working(dtype)

    def narrow(self, dtype: str) -> bool:
        """Return whether kernels that compute in float64 take its cheaper primitives, for results of a dtype."""
        return dtype != "float64" and not self.full


class Elementwise(Specification):
    """A function of one array."""

    mask: Callable[..., Any]
    y_determines: Callable[..., Any] | None
    ulp: Bounds
    formulas = "value", "derivative", "mask", "y_determines"

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        made = VALUE, DERIVATIVE, BACKWARD, VALUE_AND_DERIVATIVE, WITH_MASK, BACKWARD_FROM_MASK
        has_mask = "mask" in self.backward_from
        self.operations = {o.name: o for o in made if has_mask or not (o.makes_mask or o.reads_mask)}


class Gated(Specification):
    """A function of two arrays, x and what gates it; `derivative` gives both."""

    gate: str
    ulp: Bounds
    formulas: tuple[str, ...] = "value", "derivative"

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.uniform = (self.gate, *self.parameters)
        outputs = "dx", f"d{self.gate}"
        backward = Operation("backward", ("dy", "x", self.gate), outputs, ("derivative",), _backward_to_both)
        self.operations = {"value": VALUE._replace(inputs=("x", self.gate)), "backward": backward}


class OfSum(Gated):
    """An elementwise function of the sum of two arrays, x and b, which is rounded to their dtype first.

    Attributes
    ----------
    of : Elementwise
        The specification of the function.
    gate : str
        The name of the second array: "b", unless a parameter is called so.
    backward_and_sum : Operation
        Of kernels alone, which sum a gradient in the order of `engine.runtime.sums`.
    """

    of: Elementwise
    backward_and_sum: Operation
    mask: Callable[..., Any]
    formulas = "value", "derivative", "mask"
    has_ufuncs = False

    def __init__(self, of: Elementwise) -> None:
        gate = next(name for name in ("b", "bias", "addend") if name not in of.parameters)
        names = {"of": of, "gate": gate, "name": f"{of.name}.of_sum", "full_name": f"{of.full_name}.of_sum"}
        formulas = {
            "value": _over(_of_sum, value=of.value),
            "derivative": _over(_gradient_of_sum, derivative=of.derivative),
            "mask": _over(_mask_of_sum, mask=of.mask),
        }
        super().__init__(**{**vars(of), **names, **formulas})
        self.uniform = tuple(of.parameters)
        self.backward_and_sum = BACKWARD_AND_SUM._replace(inputs=("dy", "x", gate, "total"))
        if "mask" in of.backward_from:
            self.operations["with_mask"] = WITH_MASK._replace(inputs=("x", gate))

    @property
    def masks_of(self) -> str:
        """The full name of the function whose masks it makes."""
        return self.of.full_name

    def __reduce__(self) -> tuple[Any, ...]:
        return OfSum, (self.of,)


def _over(formula: Any, **parts: Callable[..., Any]) -> FunctionType:
    """Make a formula over other formulas."""
    return FunctionType(formula.__code__, {**parts, "stored": stored}, formula.__name__)


class Rowwise(Specification):
    """A function of whole rows."""

    of_sum: Callable[..., Any]  # of the sum of a row's exponentials, less 1
    weight: Callable[..., Any]  # of dy and y: what backward sums along a row; of an excess two
    backward: Callable[..., Any]  # of dy, y and those sums
    ulp: tuple[float, float]  # in float32 and float64
    negated = False  # whether the value's formulas get -x for x
    each = "exponential"  # what e is of each x; of "excess" and "first" nothing is summed
    has_options = False  # whether it takes where, scale, causal and sink
    reduces = False  # whether there is one number a row; then weight is of the sum, and backward of dy, e and that
    formulas = "value", "of_sum", "weight", "backward"
    operations = {"value": ROWS, "backward": ROWS_BACKWARD}  # noqa: RUF012

    @property
    def flags(self) -> tuple[Any, ...]:
        """Fields that decide the results beside the formulas."""
        return *super().flags, self.negated, self.each, self.reduces

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        if self.reduces:
            self.operations = {"value": ROWS, "backward": ROWS_BACKWARD_FROM_X}

    @property
    def sums(self) -> int:
        """How many sums of a row backward needs."""
        return 2 if self.each == "excess" else 1

    @property
    def nothing(self) -> float:
        """The x whose exponential is 0: what is hidden from a row."""
        return math.inf if self.negated else -math.inf

    @property
    def is_share(self) -> bool:
        """Whether the value is e's share of the sum, which a factor common to all e of a row leaves as it is."""
        if self.each != "exponential" or self.reduces:
            return False
        _, _, e, of_sum = self.value.__code__.co_varnames[:4]
        (rest,) = self.of_sum.__code__.co_varnames[:1]
        return describe(self.value) == f"{e} * {of_sum}" and describe(self.of_sum) == f"1 / (1 + {rest})"

    @property
    def uses_exponentials(self) -> bool:
        """Whether the value is made of e, and not of its sum alone."""
        return self.each == "exponential" and not self.reduces and self.uses("e")

    def uses(self, name: str) -> bool:
        """Whether the value is made of an argument of its formula."""
        return re.search(rf"\b{name}\b", describe(self.value)) is not None


class Loss(Specification):
    """A loss of rows and targets, which the engine computes by kernels of its own."""

    softmax: Rowwise
    log_softmax: Rowwise  # of which array libraries make the loss, and its derivative
    formulas = ()
    operations = {o.name: o for o in (LOSSES, LOSSES_AND_GRADIENT, LOSSES_BACKWARD)}  # noqa: RUF012


def read(specification: Specification, operation: Operation, primitives: Mapping[str, Any]) -> FunctionType:
    """Bind an operation to an interpretation: a formula over the formulas of its specification."""
    parts = {part: bind(getattr(specification, part), primitives) for part in operation.parts}
    return bind(operation.formula, {**primitives, **parts})
