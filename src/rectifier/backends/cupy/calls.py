"""The calls on CuPy arrays: what is checked here, `kernels` computes where the arrays lie.

Nothing here waits for the device, and nothing is copied between it and the host: what would need that is refused.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from ...functions import arguments, dtypes
from ...functions.mask import Mask, PartialMask
from ...functions.rowwise import Axis, RowFunction, as_rows, floating, from_rows, require_axes
from ...functions.specification import VALUE, Block, Operation
from ..numpy import sum_gradients
from . import launch

MASKS = True
RANK = 0


def call(
    block: Block,
    operation: Operation,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...],
) -> Any:
    """Compute a operation without a mask."""
    function = block.named(operation)
    arrays, values, names = block.regrouped(arrays, values, names)
    dtype, operands, settings, shape = _checked(function, block, names, arrays, values)
    shapes = tuple(np.shape(array) for array in operands[-2:])
    summed = block.gated and operation is not VALUE and shapes != (shape, shape)
    given = _given(function, operation.outputs, None if summed else out, shape, dtype)
    named = zip((*names, *operation.outputs), (*operands, *given), strict=True)
    with _device(function, {**dict(named), **settings}):
        inputs = [_array(operand, dtype) for operand in operands]
        outs = tuple(_empty(shape, dtype, inputs) if own is None else own for own in given)
        inputs = [_apart(array, outs) for array in inputs]
        numbers = [_apart(number, outs) for number in _rounded(function, settings, dtype)]
        if block.gated:
            *inputs, gate = inputs
            numbers = [gate]
        launch.run(block, operation, dtype, tuple(inputs), tuple(numbers), outs)
        if summed:
            return sum_gradients(function, operation, outs, shapes, out)
    return outs if len(outs) > 1 else outs[0]


def with_mask(block: Block, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    function = f"{block.name}.with_mask"
    dtype, (x,), settings, shape = _checked(function, block, ("x",), (x,), values)
    (y,) = _given(function, ("y",), out, shape, dtype)
    with _device(function, {"x": x, "y": y, **settings}):
        x = _array(x, dtype)
        y = _empty(shape, dtype, [x]) if y is None else y
        recorded = arguments.recorded(block, values)  # before y is written, which may be one of them
        words = cupy.empty((y.size + 31) // 32, np.uint32)  # which the kernel writes whole
        bits = words.view(np.uint8)[: (y.size + 7) // 8]
        numbers = _rounded(function, settings, dtype)
        _run_in_c_order(launch.run_with_mask, block, dtype, x, numbers, y, bits, making=True)
    return y, Mask.made(bits, shape, block.full_name, recorded)


def backward_from_mask(block: Block, dy: Any, out: Any, mask: Mask, values: tuple[Any, ...]) -> Any:
    """Compute backward from a mask."""
    function = f"{block.name}.backward"
    if isinstance(mask, PartialMask):
        raise TypeError(f"{function}: the mask hides elements, and CuPy has no masked arrays; pass the filled x")
    if not isinstance(mask.bits, cupy.ndarray):
        raise TypeError(
            f"{function}: the mask lies in the memory of the host, and the call has CuPy arrays; take it to the device "
            "by Mask(cupy.asarray(mask.bits), mask.shape, mask.function, mask.parameters)"
        )
    dtype, (dy,), settings, shape = _checked(function, block, ("dy",), (dy,), values)
    sides = zip(shape[::-1], mask.shape[::-1], strict=False)
    if len(shape) > mask.ndim or any(side not in (1, of_mask) for side, of_mask in sides):
        raise ValueError(f"{function}: dy has shape {np.shape(dy)}, the mask {mask.shape}")
    (dx,) = _given(function, ("dx",), out, mask.shape, dtype)
    with _device(function, {"dy": dy, "mask": mask.bits, "dx": dx, **settings}):
        dy = _array(dy, dtype)
        dx = _empty(mask.shape, dtype, [dy]) if dx is None else dx
        numbers = _rounded(function, settings, dtype)
        _run_in_c_order(launch.run_from_mask, block, dtype, dy, numbers, dx, mask.bits, making=False)
    return dx


def rowwise(function: RowFunction, backward: bool, arrays: tuple[Any, ...], out: Any, axis: Axis) -> Any:
    """Compute the value of x, or the gradient of dy and y, of rows along one or several axes."""
    name = f"{function.__name__}.backward" if backward else function.__name__
    names = ("dy", "y") if backward else ("x",)
    operands = [_operand(name, what, array) for what, array in zip(names, arrays, strict=True)]
    axes = require_axes(name, operands[-1], axis)
    shape, *others = map(np.shape, operands)
    if others and others[0] != shape:
        raise ValueError(f"{name}: dy has shape {shape}, y {others[0]}")
    dtype = floating(*(getattr(array, "dtype", array) for array in operands))
    output = "dx" if backward else "y"
    (given,) = _given(name, (output,), out, shape, dtype)
    with _device(name, {**dict(zip(names, operands, strict=True)), output: given}):
        how = cupy.transpose, cupy.reshape
        rows = [cupy.ascontiguousarray(as_rows(_array(array, dtype), axes, *how)) for array in operands]
        result = None if given is None else as_rows(given, axes, *how)
        if result is None or not (result.flags.c_contiguous and may_share_memory(result, given)):  # else it is a copy
            result = cupy.empty(rows[0].shape, dtype)
        launch.run_rows(function.block, backward, dtype, tuple(_apart(row, (result,)) for row in rows), result)
        result = from_rows(result, axes, shape, *how)
        if given is None:
            return result
        if not may_share_memory(result, given):
            given[...] = result
        return given


def kept(value: Any) -> Any:
    """Give a parameter as it is now, whatever its owner does to it later."""
    with value.device:
        return value.copy()


def may_share_memory(a: Any, b: Any) -> bool:
    """Say whether the memory from the first to the last element of two arrays overlaps."""
    return isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray) and bool(cupy.may_share_memory(a, b))


def _operand(function: str, name: str, value: Any) -> Any:
    """Let CuPy arrays of a dtype with a row in the table pass, and numbers; refuse what would have to be copied."""
    if isinstance(value, cupy.ndarray):
        dtypes.require_real(value.dtype, name, function)
        return value
    arguments.refuse_masked(function, name, value)
    if arguments.is_python_number(value) or (isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0):
        return arguments.operand(function, name, value)
    raise TypeError(
        f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has CuPy arrays; it takes those "
        f"and numbers: copy it to the device by cupy.asarray({name}), or the others to the host by cupy.asnumpy"
    )


def _checked(
    function: str, block: Block, names: tuple[str, ...], arrays: tuple[Any, ...], values: tuple[Any, ...]
) -> tuple[np.dtype[Any], list[Any], dict[str, Any], tuple[int, ...]]:
    """Give the dtype of a call, its operands, its parameters by their names, and the shape of the result."""
    operands = [_operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    settings = dict(zip(block.parameters, values, strict=False))  # a gated block's stand among the arrays
    settings = {name: _operand(function, name, value) for name, value in settings.items()}
    dtype = arguments.holding(arguments.resolve(block, operands), tuple(settings.values()))
    shape = arguments.broadcast(function, (*names, *settings), (*operands, *settings.values()))
    return dtype, operands, settings, shape


def _rounded(function: str, settings: dict[str, Any], dtype: np.dtype[Any]) -> list[Any]:
    return [arguments.fitting(function, name, value, dtype) for name, value in settings.items()]


def _given(function: str, outputs: tuple[str, ...], out: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, ...]:
    """Check `out`, and give an array or None for each output."""
    if out is None:
        return (None,) * len(outputs)
    arguments.require_out(function, outputs, out, shape, dtype, cupy.ndarray)
    return out if isinstance(out, tuple) else (out,)


def _device(function: str, arrays: dict[str, Any]) -> Any:
    """Give the device on which all arrays of a call lie, as the context in which it is the current one."""
    (first, device), *others = [(name, a.device) for name, a in arrays.items() if isinstance(a, cupy.ndarray)]
    for name, other in others:
        if other != device:
            raise ValueError(
                f"{function}: {first} lies on device {device.id} and {name} on device {other.id}; "
                "copy one of them to the other's, by cupy.asarray where that is the current device"
            )
    return device


def _array(operand: Any, dtype: np.dtype[Any]) -> Any:
    """Give an operand as an array of the dtype; a number is written there by a kernel, which takes no copy."""
    if isinstance(operand, cupy.ndarray):
        return operand if operand.dtype == dtype else dtypes.cast(operand, dtype)
    return cupy.full((), dtypes.cast(np.asarray(operand), dtype).item(), dtype)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], arrays: list[Any]) -> Any:
    """Make a result that lies in memory as the first array of its shape does, so that both are read in one run."""
    like = next((array for array in arrays if array.shape == shape), None)
    return cupy.empty(shape, dtype) if like is None else cupy.empty_like(like, dtype)


def _apart(array: Any, outs: tuple[Any, ...]) -> Any:
    """Copy an array where writing an output would change elements that are still to be read."""
    return array.copy() if any(may_share_memory(array, out) and not _is_same(array, out) for out in outs) else array


def _is_same(a: Any, b: Any) -> bool:
    return bool(a.data.ptr == b.data.ptr and a.strides == b.strides and a.shape == b.shape)


def _run_in_c_order(
    run: Any, block: Block, dtype: Any, operand: Any, parameters: list[Any], target: Any, bits: Any, *, making: bool
) -> None:
    """Run a operation with a mask, whose bits are in C order."""
    written = target if target.flags.c_contiguous else cupy.empty(target.shape, dtype)
    read = _apart(cupy.ascontiguousarray(cupy.broadcast_to(operand, target.shape)), (written,))
    numbers = tuple(_apart(number, (written,)) for number in parameters)
    run(block, dtype, read, numbers, written, bits) if making else run(block, dtype, read, bits, numbers, written)
    if written is not target:
        target[...] = written
