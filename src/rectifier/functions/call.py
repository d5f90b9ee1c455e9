"""One call, as every backend gets it, and the preparation of its arguments that all backends share."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import arguments, dtypes
from .mask import Mask
from .reduction import Reduction, require
from .specification import Loss, Operation, Rowwise, Specification

Axis = int | tuple[int, ...] | None


class Call(NamedTuple):
    """A computation that is asked for.

    Attributes
    ----------
    function : callable
        The public function.
    operation : Operation
    operands : dict
        Arrays by the names that errors give them; the mask of ``backward(dy, mask=mask)`` is one of them.
    parameters : dict
    out : array, tuple of arrays or None
    axis : int, tuple of int or None
        Along which the rows of a row-wise function lie.
    options : RowOptions, Reduction or None
        Of a row-wise function, as they were given; None where all are the default. One that reduces always has some.
    called : str
        The name of the call that was made, for errors, if the operation does not say it.
    """

    function: Any
    operation: Operation
    operands: dict[str, Any]
    parameters: dict[str, Any]
    out: Any = None
    axis: Axis = -1
    options: Any = None
    called: str = ""

    @property
    def spec(self) -> Specification:
        """The specification of the function."""
        spec: Specification = self.function.spec
        return spec

    @property
    def name(self) -> str:
        """The name of the call, for errors."""
        return self.called or self.spec.named(self.operation)

    @property
    def is_rowwise(self) -> bool:
        """Whether it is of rows."""
        return isinstance(self.spec, Rowwise)

    @property
    def reduces(self) -> bool:
        """Whether it is of rows that have one number each."""
        return isinstance(self.spec, Rowwise) and self.spec.reduces

    @property
    def given(self) -> dict[str, Any]:
        """Operands and parameters."""
        return {**self.operands, **self.parameters}

    @property
    def arrays(self) -> dict[str, Any]:
        """Operands and parameters, of a mask its bits, and the options that are arrays."""
        arrays = {**self.operands, **self.parameters, **(self.options.arrays if self.options else {})}
        if isinstance(mask := arrays.get("mask"), Mask):
            arrays["mask"] = mask._bits
        return arrays

    @property
    def gradients(self) -> tuple[str, ...]:
        """The names of the operands whose gradients are computed, where there are several."""
        return tuple(self.operands)[1:] if len(self.operation.outputs) > 1 and "dy" in self.operands else ()

    @property
    def method(self) -> str:
        """The name of the function's method that makes this call; none for the value."""
        return self.operation.method

    def on(self, operands: dict[str, Any]) -> Any:
        """Make the same public call on other arrays and numbers, options among them, and without `out`."""
        has_axis = self.is_rowwise or isinstance(self.spec, Loss)
        how: dict[str, Any] = {"axis": self.axis} if has_axis else {}
        how |= self.options._asdict() if self.options else {}
        method = getattr(self.function, self.method) if self.method else self.function
        return method(**how | operands)


class Prepared(NamedTuple):
    """The checked arguments of a call.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the results.
    operands, parameters : dict
    shape : tuple of int
        Of the results, but for gradients that are summed.
    axes : tuple of int
        Of a row, counted from the first.
    """

    dtype: np.dtype[Any]
    operands: dict[str, Any]
    parameters: dict[str, Any]
    shape: tuple[Any, ...]
    axes: tuple[int, ...] = ()


def prepare(
    call: Call,
    as_operand: Callable[[str, str, Any], Any],
    *,
    dtype_of: Callable[[str, str, Any], Any] = lambda function, name, operand: operand,
    broadcast: Callable[..., tuple[Any, ...]] = arguments.broadcast,
) -> Prepared:
    """Check the arguments of a call, and find the dtype and the shape of its results.

    Parameters
    ----------
    call : Call
    as_operand : callable
        Of the name of the call, the name of an argument and the argument. It returns what the backend computes with: an
        array of its library or a number.
    dtype_of : callable
        Of the same and the operand. It returns a number, or what has the same dtype in NumPy.
    broadcast : callable
        Of the name of the call and of operands by their names. It returns the shape of the result.

    Raises
    ------
    TypeError, ValueError
        If an argument is none that the call takes, or shapes do not broadcast.
    """
    name, spec = call.name, call.spec
    operands = {key: as_operand(name, key, value) for key, value in call.operands.items()}
    axes: tuple[int, ...] = ()
    if call.is_rowwise:
        *_, last = operands
        axes = require_axes(name, operands[last], call.axis)
        shape = arguments.shape_of(operands[last])
        if isinstance(call.options, Reduction):
            shape = _require_reduction(name, operands, call.options, axes)
        else:
            require_one_shape(name, operands)
        dtype = dtypes.floating(*(dtype_of(name, key, value) for key, value in operands.items()))
        return Prepared(dtype, operands, {}, shape, axes)
    parameters = {key: as_operand(name, key, value) for key, value in call.parameters.items()}
    masks = [value for value in operands.values() if isinstance(value, Mask)]
    arrays = {key: value for key, value in operands.items() if not isinstance(value, Mask)}
    likes = [dtype_of(name, key, value) for key, value in arrays.items()]
    dtype = arguments.resolve(spec.selects, likes)
    dtype = arguments.holding(dtype, tuple(dtype_of(name, key, value) for key, value in parameters.items()))
    shape = broadcast(name, {**arrays, **parameters})
    return Prepared(dtype, operands, parameters, shape_with(name, masks, arrays, shape), axes)


def shape_with(name: str, masks: list[Mask], arrays: dict[str, Any], shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the shape of the result of a call that may have a mask, to which dy broadcasts."""
    for mask in masks:
        if not arguments.broadcasts_to(shape, mask.shape):
            raise ValueError(f"{name}: dy has shape {arguments.shape_of(arrays['dy'])}, the mask {mask.shape}")
        shape = mask.shape
    return shape


def _require_reduction(
    function: str, operands: dict[str, Any], reduction: Reduction, axes: tuple[int, ...]
) -> tuple[Any, ...]:
    """Check the options of a call that reduces, and that dy has a number for each row; return the result's shape."""
    whole = arguments.shape_of(operands["x"])
    require(function, reduction, whole)
    reduced = reduction.shape(whole, axes)
    if "dy" not in operands:
        return reduced
    shape = arguments.shape_of(operands["dy"])
    if not arguments.may_be_equal(shape, reduced):
        raise ValueError(f"{function}: dy has shape {shape}; of x {whole} along {axes} the value has {reduced}")
    return whole


def require_one_shape(function: str, operands: dict[str, Any]) -> None:
    """Refuse rows of unlike shapes: dy and y do not broadcast."""
    shapes = {name: arguments.shape_of(array) for name, array in operands.items()}
    (first, shape), *others = shapes.items()
    if not all(arguments.may_be_equal(shape, other) for _, other in others):
        rest = ", ".join(f"{name} {other}" for name, other in others)
        raise ValueError(f"{function}: {first} has shape {shape}, {rest}")


def require_axes(function: str, array: Any, axis: Any) -> tuple[int, ...]:
    """Return the axes along which a row lies, counted from the first and in their order.

    None stands for all of them. An array without dimensions is one row, and takes 0 and -1 as NumPy's reductions do.
    """
    dimensions = len(arguments.shape_of(array))
    if axis is None:
        return tuple(range(dimensions))
    try:
        numbers = [operator.index(number) for number in (axis if isinstance(axis, tuple) else (axis,))]
    except TypeError:
        raise TypeError(f"{function}: axis is {axis!r}; it takes an integer, a tuple of integers, or None") from None
    if dimensions == 0 and not isinstance(axis, tuple) and numbers[0] in (0, -1):
        return ()
    for number in numbers:
        if not -dimensions <= number < dimensions:
            raise ValueError(f"{function}: axis {number} is out of bounds for an array of {dimensions} dimensions")
    axes = sorted({number % dimensions for number in numbers})
    if len(axes) < len(numbers):
        raise ValueError(f"{function}: axis {axis} names an axis twice")
    return tuple(axes)
