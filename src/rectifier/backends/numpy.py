"""NumPy's arrays, numbers and lists: by the compiled engine, or by the NumPy engine where nothing is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import choice
from ..engine.callbacks import raising
from ..engine.interpreter import sweep
from ..engine.ufuncs import register_bfloat16
from ..functions import addition, arguments, dtypes, gradients, subclasses
from ..functions.call import Call, Prepared, prepare
from ..functions.gradients import add as add
from ..functions.mask import Mask, PartialMask
from ..functions.rows import as_rows, from_rows
from ..functions.specification import QUANTIZED, Loss, OfSum
from . import lookup, losses, reductions, row_options, sums

RANK = -2
capabilities = frozenset({"out", "mask", "rows", "reductions", "gradients", "tables", "options", "packed", "losses"})


def compute(call: Call) -> Any:
    """Compute a call on what NumPy makes arrays of."""
    register_bfloat16()
    if isinstance(call.spec, Loss):
        return losses.compute(call)
    if call.operation.name == QUANTIZED.name:
        return lookup.quantized(call)
    if lookup.serves(call):
        wide = lookup.widened(call)
        return compute(wide) if wide is not None else lookup.compute(call)
    if isinstance(call.spec, OfSum) and any(map(_is_tabulated, call.operands.values())):
        return _sum_of_small(call)
    if call.is_rowwise:
        if call.reduces:
            return reductions.compute(call)
        return row_options.gradients_of_sink(call, _rows) if len(call.operation.outputs) > 1 else _rows(call)
    if call.operation.makes_mask or call.operation.reads_mask:
        return _masked_sum(call) if isinstance(call.spec, OfSum) else _masked(call)
    return _gradients(call) if call.gradients else _elementwise(call, prepare(call, arguments.operand))


def empty_like(array: Any, dtype: Any) -> Any:
    """Make an array of the shape and layout of another, of the pool's memory where code is compiled."""
    return _empty_like(array, choice.compiles(), dtype)


def snapshot(value: Any) -> Any:
    """Return a read-only copy of an array or a number; what is none stays, and a call refuses it."""
    try:
        array = np.array(value, subok=subclasses.is_masked(value))
    except ValueError:
        return value
    if array.dtype == object:
        return value
    array.flags.writeable = False
    if subclasses.is_masked(array):
        np.ma.getmaskarray(array).flags.writeable = False
    return array


def may_share_memory(a: Any, b: Any) -> bool:
    """Return whether the memory from the first to the last element of two arrays overlaps."""
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and bool(np.may_share_memory(a, b))


def _elementwise(call: Call, prepared: Prepared) -> Any:
    """Compute without a mask: compiled over whole arrays if they are that simple, else by the ufunc."""
    name, out, outputs = call.name, call.out, call.operation.outputs
    method = call.function.methods[call.operation.name]
    dtype, operands, parameters, shape, _ = prepared
    if out is not None:
        arguments.require_out(name, outputs, out, shape, dtype)
        subclasses.require_mask_in_out(name, {**operands, **parameters}, out)
    if isinstance(call.spec, OfSum):
        if addition.comes_first(call, dtype, operands) or not sums.is_compiled(call.spec, call.operation):
            return _in_two_steps(call, prepared)
        addition.require_held(call, operands, dtype)
    gates = [key for key in operands if key in call.spec.uniform]
    if gates:  # equals of x: all take the dtype of the call before it is made
        made: list[Any] = [np.asanyarray(value) for value in operands.values()]
        made = [array if array.dtype == dtype else dtypes.cast(array, dtype) for array in made]
        operands = dict(zip(operands, subclasses.as_given(made, call.operands.values()), strict=True))
        parameters = {key: operands.pop(key) for key in gates} | parameters
    numbers = {key: arguments.fitting(name, key, value, dtype) for key, value in parameters.items()}
    inputs: Any = [*operands.values()]
    if any(isinstance(array, np.ndarray) for array in inputs):
        inputs = [dtypes.cast(np.asarray(a), dtype) if type(a) in (int, float) else a for a in inputs]
    method.prepare(dtype)
    given = (None,) * len(outputs) if out is None else out if isinstance(out, tuple) else (out,)
    simple, *others = ([dtypes.canonical(a, dtype) for a in arrays] for arrays in (inputs, numbers.values(), given))
    result = method.compiled(*simple, *others[0], *others[1])
    if result is NotImplemented:
        result = method.call_with_casts(dtype, simple, (*others[0], *others[1]))
    if result is NotImplemented and method.ufunc is None:
        return _in_two_steps(call, prepared)
    if result is NotImplemented:
        every = subclasses.as_given((*inputs, *numbers.values()), call.given.values())
        with raising(), np.errstate(all="ignore"):  # NumPy casts operands before the loop, and warns of signalling NaNs
            result = method.ufunc(*every, **({} if out is None else {"out": out}))
        result = subclasses.with_masks_of_their_own(result)
    elif out is not None:  # not a view of it
        results = result if isinstance(result, tuple) else (result,)
        result = tuple(array if own is None else own for own, array in zip(given, results, strict=True))
        result = result[0] if len(result) == 1 else result
    return result


def _in_two_steps(call: Call, prepared: Prepared) -> Any:
    """Add x and b, then apply the function; both gradients are of the shape of all arrays."""
    total = addition.added(call, prepared.operands)
    if not call.gradients:
        return addition.applied(call, total, out=call.out)
    dx, db = (None, None) if call.out is None else call.out
    dx = addition.applied(call, total, out=dx)
    if db is None:
        return dx, dx.copy()
    db[...] = dx
    return dx, db


def _is_tabulated(value: Any) -> bool:
    return dtypes.is_tabulated(getattr(value, "dtype", None))


def _sum_of_small(call: Call) -> Any:
    """Add floats of eight bits or fewer, which ml_dtypes rounds, then apply the function, which is a table."""
    spec: Any = call.spec
    given = {name: call.operands[name] for name in ("x", spec.gate)}
    dtype = next((value.dtype for value in given.values() if hasattr(value, "dtype")), None)
    x, b = (np.asarray(v, dtype) if arguments.is_python_number(v) else np.asanyarray(v) for v in given.values())
    arguments.broadcast(call.name, {"x": x, spec.gate: b})
    try:
        kind = np.result_type(x, b)
    except TypeError:
        raise TypeError(
            f"{call.name}: x is {x.dtype} and {spec.gate} {b.dtype}, and no dtype holds both; cast one of them"
        ) from None
    with np.errstate(all="ignore"):
        total = np.add(x.astype(kind), b.astype(kind))
    if not call.gradients:
        return addition.applied(call, total, out=call.out)
    dx = addition.applied(call, total)
    return gradients.summed(call.name, call.operation.outputs, (dx, dx.copy()), (x.shape, b.shape), call.out)


def _masked_sum(call: Call) -> Any:
    """Compute the function of a sum, and the mask."""
    prepared = prepare(call, arguments.operand)
    dtype, operands, parameters, shape, _ = prepared
    if not addition.comes_first(call, dtype, operands) and sums.is_compiled(call.spec, call.operation):
        addition.require_held(call, operands, dtype)
        method = call.function.methods[call.operation.name]
        method.prepare(dtype)
        numbers = [arguments.fitting(call.name, key, value, dtype) for key, value in parameters.items()]
        arrays = [dtypes.canonical(array, dtype) for array in (*operands.values(), *numbers)]
        both = method.compiled(*arrays, call.out, None)
        if both is not NotImplemented:
            return both[0], Mask.made(both[1], shape, call.spec.masks_of, call.parameters)
    if call.out is not None:
        arguments.require_out(call.name, call.operation.outputs[:1], call.out, shape, dtype)
    return addition.applied(call, addition.added(call, operands), out=call.out)


def _gradients(call: Call) -> Any:
    """Compute several gradients; each is summed to the shape of its array.

    The sum is NumPy's over an array in C order, so it depends neither on threads nor on how the arrays lay.
    """
    prepared = prepare(call, arguments.operand)
    whole, shapes = prepared.shape, tuple(np.shape(prepared.operands[name]) for name in call.gradients)
    if all(shape == whole for shape in shapes):
        return _elementwise(call, prepared)
    if isinstance(call.spec, OfSum) and not addition.comes_first(call, prepared.dtype, prepared.operands):
        both = sums.backward(call, prepared)
        if both is not None:
            return both
    found = tuple(np.asarray(one) for one in _elementwise(call._replace(out=None), prepared))
    every = [*call.given.values()]
    hides = subclasses.hidden(whole, *every)
    if call.out is not None:
        subclasses.require_mask_in_out(call.name, call.given, call.out)
    if hides is not None:
        found = tuple(np.where(hides, one.dtype.type(0), one) for one in found)
    totals = gradients.summed(call.name, call.operation.outputs, found, shapes, call.out)
    given = (None,) * len(totals) if call.out is None else call.out
    return tuple(
        subclasses.answered(total, own, every, _all_hidden(hides, shape))
        for total, own, shape in zip(totals, given, shapes, strict=True)
    )


def _all_hidden(hides: Any, shape: tuple[int, ...]) -> Any:
    """Return which sums are of hidden elements alone, as ``numpy.ma`` hides them; one of no elements is a visible 0."""
    if hides is None:
        return None
    if not hides.size:
        return np.zeros(shape, np.bool_)
    return hides.all(axis=arguments.broadcast_axes(hides.shape, shape), keepdims=True).reshape(shape)


def _masked(call: Call) -> Any:
    """Compute with a mask, which is made or read; its bits are in C order."""
    out, making = call.out, call.operation.makes_mask
    dtype, operands, parameters, shape, _ = prepare(call, _operand)
    name, *_ = operands
    source = np.asanyarray(operands[name])
    numbers = {key: arguments.fitting(call.name, key, value, dtype) for key, value in parameters.items()}
    given = (call.operands[name], *call.parameters.values())
    every = dict(zip((name, *numbers), subclasses.as_given((source, *numbers.values()), given), strict=True))
    mask: Any = operands.get("mask")
    if isinstance(mask, PartialMask):
        every["mask"] = mask.to_array()
    own = None
    if out is not None:
        arguments.require_out(call.name, call.operation.outputs[:1], out, shape, dtype)
        subclasses.require_mask_in_out(call.name, every, out)
        own = out[0] if isinstance(out, tuple) else out
    spread = np.broadcast_to(np.asarray(source), shape)
    target = np.empty_like(spread, dtype) if own is None else np.asarray(own)
    bits = np.empty((spread.size + 7) // 8, np.uint8) if making else mask._bits
    hides = subclasses.hidden(shape, *every.values())
    _run_with_bits(call, dtype, spread, tuple(numbers.values()), bits, target)
    result = subclasses.answered(target, own, every.values(), hides)
    if not making:
        return result
    mask = Mask.made(bits, shape, call.spec.full_name, call.parameters)
    return result, mask if hides is None else PartialMask.of(mask, hides)


def _operand(function: str, name: str, value: Any) -> Any:
    return value if isinstance(value, Mask) else arguments.operand(function, name, value)


def _run_with_bits(call: Call, dtype: Any, source: Any, numbers: tuple[Any, ...], bits: Any, target: Any) -> None:
    """Run an operation with a mask over arrays of one shape and of any layout, in C order."""
    if not target.dtype.isnative:
        written = np.empty_like(target, dtype)
        _run_with_bits(call, dtype, source, numbers, bits, written)
        target[...] = written
        return
    source, target = (dtypes.canonical(array, dtype) for array in (source, target))
    if source.dtype != dtype:
        source = dtypes.cast(source, dtype)
    elif np.may_share_memory(source, target) and not _is_same_view(source, target):
        source = source.copy()
    parameters = [np.array(number, copy=np.may_share_memory(number, target) or None) for number in numbers]
    parameters = [dtypes.canonical(number, dtype) for number in parameters]
    if target.ndim == 0:
        source, target = source.reshape(1), target.reshape(1)
    method = call.function.methods[call.operation.name]
    method.prepare(target.dtype)
    making = call.operation.makes_mask
    operands = [source, *parameters, target, bits] if making else [source, bits, *parameters, target]
    if method.compiled(*operands) is NotImplemented:
        sweep(method.spec, method.operation, target.dtype, operands)


def _is_same_view(a: Any, b: Any) -> bool:
    (data, _), (other, _) = a.__array_interface__["data"], b.__array_interface__["data"]
    return bool(data == other and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype)


def _rows(call: Call, extra: Any = None) -> Any:
    """Compute along rows; the kernels take contiguous ones, so of another layout or dtype an array is copied first.

    With options a kernel writes to `extra`, unless that is None, a float64 for each row.
    """
    out, backward = call.out, "dy" in call.operands
    prepared = prepare(call, arguments.operand)
    dtype, operands, _, shape, axes = prepared
    laid = None if call.options is None else row_options.lay(call, prepared)
    inputs = {name: np.asanyarray(array) for name, array in operands.items()}
    own: Any = None
    if out is not None:
        arguments.require_out(call.name, call.operation.outputs, out, shape, dtype)
        subclasses.require_mask_in_out(call.name, inputs, out)
        own = out[0] if isinstance(out, tuple) else out
    spec: Any = call.spec
    rows = [_lay(array, axes, dtype) for array in inputs.values()]
    hides = subclasses.hidden(shape, *inputs.values())
    if hides is not None:  # what is hidden counts nothing, and so does a product with 0
        covered = as_rows(hides, axes)
        laid = laid and row_options.without_hidden(laid, covered)
        rows = [np.where(covered, dtype.type(0 if backward else spec.nothing), array) for array in rows]
    target = None if own is None else np.asarray(own)
    given: Any = None if target is None else as_rows(target, axes)
    direct = given is not None and given.flags.c_contiguous and given.flags.aligned and given.dtype.isnative
    direct = direct and np.may_share_memory(given, target)  # to make one axis of several may take a copy
    if direct:
        direct = not any(np.may_share_memory(given, a) and a.ctypes.data != given.ctypes.data for a in rows)
    method = call.function.methods[call.operation.name + ("" if laid is None else "_with_options")]
    compiled = method.prepare(dtype)
    result: Any = given if direct else _empty_like(rows[0], compiled)
    arrays = [dtypes.canonical(array, dtype) for array in (*rows, result)]
    if result.size:
        with_options = () if laid is None else (row_options.apart_from(laid, result), extra)
        method.compute(*arrays, *with_options)
    if hides is not None:  # a row of which all is hidden is NaN
        np.copyto(result, 0, where=covered)
    made = from_rows(result, axes, shape)
    if target is not None and not direct:
        target[...] = made
    return subclasses.answered(made, own, inputs.values(), hides)


def _empty_like(array: Any, compiled: bool, dtype: Any = None) -> Any:
    """Make a result, of the pool's memory where code is compiled."""
    if not compiled:
        return np.empty_like(array, dtype)
    from ..engine import memory

    return memory.empty_like(array, dtype)


def _lay(array: Any, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return an array with its rows along the last axis, contiguous, aligned and native."""
    moved = as_rows(np.asarray(array), axes)
    cast = moved if moved.dtype == dtype else dtypes.cast(moved, dtype)
    return np.require(cast, requirements=["C", "A"])
