"""The calls on CuPy arrays: what is checked here, `launch` computes where the arrays lie.

Nothing here waits for the device, and nothing is copied between it and the host: what would need that is refused.
What was decided for a call is `recorded`, by which the next one like it is launched at once.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from ...functions import addition, arguments, dtypes, gradients
from ...functions.call import Call, Prepared, prepare
from ...functions.gradients import add as add
from ...functions.mask import Mask, PartialMask
from ...functions.reduction import of_nothing
from ...functions.rows import as_rows, from_rows
from ...functions.specification import OfSum
from .. import registry
from . import launch, recorded

RANK = 0
capabilities = frozenset({"out", "mask", "rows", "reductions", "gradients", "packed"})


# The arrays of the results, the bits of a mask among them, and the launch that wrote them, if there was one.
Computed = tuple[tuple[Any, ...], launch.Launch | None]


def compute(call: Call) -> Any:
    """Compute a call where its arrays lie."""
    key = recorded.key_of(call)
    found = recorded.launches.get(key)
    if found is not None and found.device == cupy.cuda.runtime.getDevice() and _is_writable(call):
        outs = found.compute(call)
    else:
        outs, launched = _computed(call)
        if key is not None and launched is not None:
            recorded.record(key, call, outs, launched)
    if call.operation.makes_mask:
        y, bits = outs
        return y, Mask.made(bits, y.shape, call.spec.masks_of, call.parameters)
    return outs if len(outs) > 1 else outs[0]


def _computed(call: Call) -> Computed:
    if call.is_rowwise:
        return _reduced(call) if call.reduces else _rows(call)
    if call.operation.makes_mask or call.operation.reads_mask:
        return _masked(call)
    return _elementwise(call)


def empty_like(array: Any, dtype: Any) -> Any:
    """Make an array of the shape and layout of another, on its device."""
    with array.device:
        return cupy.empty_like(array, dtype)


def snapshot(value: Any) -> Any:
    """Return a copy of an array, on its device."""
    with value.device:
        return value.copy()


def may_share_memory(a: Any, b: Any) -> bool:
    """Return whether the memory from the first to the last element of two arrays overlaps."""
    return isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray) and bool(cupy.may_share_memory(a, b))


def _elementwise(call: Call) -> Computed:
    """Compute without a mask."""
    spec, outputs = call.spec, call.operation.outputs
    prepared = prepare(call, _operand)
    dtype, operands, parameters, shape, _ = prepared
    if isinstance(call.spec, OfSum) and addition.comes_first(call, dtype, operands):
        return _in_two_steps(call, operands)
    shapes = tuple(np.shape(operands[name]) for name in call.gradients)
    summed = any(own != shape for own in shapes)
    given = _given(call, None if summed else call.out, shape, dtype)
    with _device(call, prepared, given):
        inputs = {name: _array(operand, dtype) for name, operand in operands.items()}
        outs = tuple(_empty(shape, dtype, [*inputs.values()]) if own is None else own for own in given)
        inputs = {name: _apart(array, outs) for name, array in inputs.items()}
        numbers = {name: _apart(number, outs) for name, number in _rounded(call, parameters, dtype).items()}
        gates = {name: inputs.pop(name) for name in operands if name in spec.uniform}
        uniform = (*gates.values(), *numbers.values())
        launched = launch.run(spec, call.operation, dtype, tuple(inputs.values()), uniform, outs)
        if summed:
            outs, launched = gradients.summed(call.name, outputs, outs, shapes, call.out, may_share_memory), None
    return outs, launched


def _in_two_steps(call: Call, operands: dict[str, Any]) -> Computed:
    """Add x and b, then apply the function."""
    spec: Any = call.spec
    kind = addition.own_dtype(call, operands)
    total = _array(operands["x"], kind) + _array(operands[spec.gate], kind)
    if not call.gradients:
        result = addition.applied(call, total, out=call.out)
        return (result if isinstance(result, tuple) else (result,)), None
    dx = addition.applied(call, total)
    shapes = tuple(np.shape(operands[name]) for name in call.gradients)
    both = dx, dx.copy()
    return gradients.summed(call.name, call.operation.outputs, both, shapes, call.out, may_share_memory), None


def _masked(call: Call) -> Computed:
    """Compute with a mask, which is made or read; its bits are in C order."""
    mask, making = call.operands.get("mask"), call.operation.makes_mask
    if isinstance(mask, PartialMask):
        raise TypeError(f"{call.name}: the mask hides elements, and CuPy has no masked arrays; pass the filled x")
    if mask is not None and not isinstance(mask.bits, cupy.ndarray):
        raise TypeError(
            f"{call.name}: the mask lies in the memory of the host, and the call has CuPy arrays; take it to the "
            "device by Mask(cupy.asarray(mask.bits), mask.shape, mask.function, mask.parameters)"
        )
    prepared = prepare(call, _operand)
    dtype, operands, parameters, shape, _ = prepared
    (target,) = _given(call, call.out, shape, dtype, call.operation.outputs[:1])
    if isinstance(call.spec, OfSum) and addition.comes_first(call, dtype, operands):
        (target, mask), _ = _in_two_steps(call, operands)
        return (target, mask._bits), None
    with _device(call, prepared, (target,)):
        sources = [_array(operand, dtype) for operand in operands.values() if not isinstance(operand, Mask)]
        target = _empty(shape, dtype, sources) if target is None else target
        bits = recorded.empty_bits(target.size) if making else call.arrays["mask"]
        numbers = [*_rounded(call, parameters, dtype).values()]
        launched = _run_in_c_order(call, dtype, sources, numbers, target, bits)
    return (target, bits) if making else (target,), launched


def _rows(call: Call) -> Computed:
    """Compute along rows."""
    prepared = prepare(call, _operand)
    spec: Any = call.spec
    dtype, operands, _, shape, axes = prepared
    (given,) = _given(call, call.out, shape, dtype)
    with _device(call, prepared, (given,)):
        how = cupy.transpose, cupy.reshape
        rows = [cupy.ascontiguousarray(as_rows(_array(array, dtype), axes, *how)) for array in operands.values()]
        result = None if given is None else as_rows(given, axes, *how)
        if result is None or not (result.flags.c_contiguous and may_share_memory(result, given)):  # else it is a copy
            result = cupy.empty(rows[0].shape, dtype)
        inputs = tuple(_apart(row, (result,)) for row in rows)
        launched = launch.run_rows(spec, "dy" in operands, dtype, inputs, result)
        result = from_rows(result, axes, shape, *how)
        if given is None or may_share_memory(result, given):
            return (result if given is None else given,), launched
        given[...] = result
        return (given,), launched


def _reduced(call: Call) -> Computed:
    """Compute one number a row, or its gradient."""
    prepared = prepare(call, _operand)
    spec: Any = call.spec
    dtype, operands, _, shape, axes = prepared
    (given,) = _given(call, call.out, shape, dtype)
    where = call.options.where
    if where is not None and not isinstance(where, cupy.ndarray):
        raise TypeError(
            f"{call.name}: where is a {arguments.full_name(type(where))}, and the call has CuPy arrays; copy it to the "
            "device by cupy.asarray(where)"
        )
    with _device(call, prepared, (given,)):
        how = cupy.transpose, cupy.reshape
        x = _array(operands["x"], dtype)
        rows = as_rows(x, axes, *how)
        counts = None if where is None else as_rows(cupy.broadcast_to(where, x.shape), axes, *how)
        if counts is not None:
            rows = _where(counts, rows, spec.nothing)
        rows = cupy.ascontiguousarray(rows)
        if "dy" not in operands:
            made = cupy.empty(shape, dtype) if rows.size else cupy.full(shape, of_nothing(spec), dtype)
            launch.run_rows(spec, False, dtype, (rows,), made)
        else:
            dy = cupy.ascontiguousarray(_array(operands["dy"], dtype))
            written = cupy.empty(rows.shape, dtype)
            launch.run_rows(spec, True, dtype, (dy, rows), written)
            if counts is not None:
                written = _where(counts, written, 0)
            made = from_rows(written, axes, shape, *how)
        if given is None:
            return (made,), None
        given[...] = made
        return (given,), None


def _where(counts: Any, array: Any, number: float) -> Any:
    """Put a number where elements do not count; CuPy sees floats of 16 bits, of which it lacks some, as integers."""
    stored = np.dtype(f"u{array.dtype.itemsize}")
    bits = np.array(number).astype(array.dtype).view(stored).item()
    return cupy.where(counts, array.view(stored), cupy.full((), bits, stored)).view(array.dtype)


def _operand(function: str, name: str, value: Any) -> Any:
    """Check an argument: a CuPy array of a dtype in the table, or a number; refuse what would have to be copied."""
    if isinstance(value, cupy.ndarray):
        dtypes.require_real(value.dtype, name, function)
        return value
    if isinstance(value, Mask):
        return value
    arguments.refuse_masked(function, name, value)
    if not registry.is_other(value) and np.ndim(operand := arguments.operand(function, name, value)) == 0:
        return operand
    raise TypeError(
        f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has CuPy arrays; it takes those "
        f"and numbers: copy it to the device by cupy.asarray({name}), or the others to the host by cupy.asnumpy"
    )


def _rounded(call: Call, parameters: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {name: arguments.fitting(call.name, name, value, dtype) for name, value in parameters.items()}


def _given(call: Call, out: Any, shape: Any, dtype: Any, outputs: tuple[str, ...] | None = None) -> tuple[Any, ...]:
    """Check `out`, and return an array or None for each output."""
    outputs = outputs or call.operation.outputs
    if out is None:
        return (None,) * len(outputs)
    arguments.require_out(call.name, outputs, out, shape, dtype, cupy.ndarray, _share_memory)
    return out if isinstance(out, tuple) else (out,)


def _device(call: Call, prepared: Prepared, outs: tuple[Any, ...]) -> Any:
    """Return the device on which all arrays of a call lie, as the context in which it is the current one."""
    arrays = [
        *prepared.operands.items(),
        *zip(call.operation.outputs, outs, strict=False),
        *prepared.parameters.items(),
    ]
    arrays = [(name, array.bits if isinstance(array, Mask) else array) for name, array in arrays]
    (first, device), *others = [(name, a.device) for name, a in arrays if isinstance(a, cupy.ndarray)]
    for name, other in others:
        if other != device:
            raise ValueError(
                f"{call.name}: {first} lies on device {device.id} and {name} on device {other.id}; "
                "copy one of them to the other's, by cupy.asarray where that is the current device"
            )
    return device


def _array(operand: Any, dtype: np.dtype[Any]) -> Any:
    """Return an operand as an array of the dtype; a number is written there by a kernel, which takes no copy."""
    if isinstance(operand, cupy.ndarray):
        return operand if operand.dtype == dtype else dtypes.cast(operand, dtype)
    return cupy.full((), dtypes.cast(np.asarray(operand), dtype).item(), dtype)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], arrays: list[Any]) -> Any:
    """Make a result that lies in memory as the first array of its shape does, so that both are read in one run."""
    like = next((array for array in arrays if array.shape == shape), None)
    return cupy.empty(shape, dtype) if like is None else cupy.empty_like(like, dtype)


def _apart(array: Any, outs: tuple[Any, ...]) -> Any:
    """Copy an array where writing an output would change elements that are still to be read."""
    return array.copy() if _overlaps(array, outs) else array


def _overlaps(array: Any, outs: tuple[Any, ...]) -> bool:
    return any(array is not out and _share_memory(array, out) and not _is_same(array, out) for out in outs)


class _Place:
    """Where a device array lies, as NumPy asks for it. Nothing is read there."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = {
            "version": 3, "typestr": f"|V{array.itemsize}", "data": (array.data.ptr, True), "shape": array.shape,
            "strides": array.strides,
        }  # fmt: skip


def _share_memory(a: Any, b: Any) -> bool:
    """Return whether two arrays have a byte in common: halves of one array, whose ranges overlap, have none."""
    return may_share_memory(a, b) and arguments.share_memory(*(np.asarray(_Place(array)) for array in (a, b)))


def _is_same(a: Any, b: Any) -> bool:
    return bool(a.data.ptr == b.data.ptr and a.strides == b.strides and a.shape == b.shape)


def _is_writable(call: Call) -> bool:
    """Return whether writing `out` changes nothing that is still to be read, nor another result."""
    if call.out is None:
        return True
    outs = call.out if isinstance(call.out, tuple) else (call.out,)
    return not (len(outs) > 1 and _share_memory(outs[0], outs[-1])) and not any(
        _overlaps(array, outs) for array in call.arrays.values()
    )


def _run_in_c_order(call: Call, dtype: Any, operands: list[Any], parameters: list[Any], target: Any, bits: Any) -> Any:
    """Run an operation with a mask, whose bits are in C order; return its launch."""
    written = target if target.flags.c_contiguous else cupy.empty(target.shape, dtype)
    shape = target.shape
    whole = [operand if operand.shape == shape else cupy.broadcast_to(operand, shape) for operand in operands]
    read = tuple(_apart(cupy.ascontiguousarray(operand), (written,)) for operand in whole)
    numbers = tuple(_apart(number, (written,)) for number in parameters)
    if call.operation.makes_mask:
        launched = launch.run_with_mask(call.spec, dtype, read, numbers, written, bits)
    else:
        launched = launch.run_from_mask(call.spec, dtype, read[0], bits, numbers, written)
    if written is not target:
        target[...] = written
    return launched
