"""The calls on Dask arrays: each adds one blockwise layer, whose tasks make the same call on one chunk.

Nothing is computed here. The graph grows by one task per block, and where two results come back by two more, which only
pick one of them. The chunks may be NumPy's or CuPy's.

There are three kinds of Dask arrays: those of ``dask.array``, those of the same module where the setting
``array.query-planning`` is on, and those of the package ``dask_array``. The last two are expressions, which Dask
rewrites before it makes a graph of them. What is used here all three have; the second lacks much of the first.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ...functions import addition, arguments, dtypes, gradients, row_options, subclasses
from ...functions.call import Call, Prepared, prepare
from ...functions.mask import Mask
from ...functions.specification import QUANTIZED, Loss, OfSum
from .. import lookup, registry
from . import losses
from .chunks import add_layer, has_unknown, in_one_chunk, is_lazy, module_of, one_module
from .masks import ChunkedMask
from .tasks import Task

RANK = 0
capabilities = frozenset({"mask", "rows", "reductions", "gradients", "tables", "options", "packed", "losses"})


def compute(call: Call) -> Any:
    """Add a layer to the graph that makes the same call on the chunks."""
    if isinstance(call.spec, Loss):
        return losses.compute(call, partial(_operand, one_module(call.name, call.arrays)))
    if call.is_rowwise:
        return _reduced(call) if call.reduces else _rows(call)
    if call.operation.name == QUANTIZED.name:
        return _quantized(call)
    mask = call.operands.get("mask")
    if mask is not None and not isinstance(mask, ChunkedMask):
        raise TypeError(f"{call.name}: the mask is of a NumPy array, and dy of Dask; take the mask of the Dask array")
    da = one_module(call.name, call.arrays)
    prepared = lookup.prepared(call) if lookup.serves(call) else _prepare(call, da)
    if isinstance(call.spec, OfSum) and addition.comes_first(call, prepared.dtype, prepared.operands):
        return _in_two_steps(call, prepared)
    dtype, arrays, others = prepared.dtype, *_apart(da, call, prepared)
    if call.gradients:
        numbers = {name: others.pop(name) for name in call.operands if name in others}
        arrays |= {name: _whole(da, dtypes.cast(np.asarray(number), dtype)) for name, number in numbers.items()}
        _require_known_sums(call.name, [*arrays.values()], prepared.shape)
    whole: tuple[str, ...] = ()
    if mask is not None:  # last, so that the others are cut as its bits are packed
        arrays, whole = arrays | {"mask": mask._bits}, ("mask",)
    task = Task(call.function, call.method, tuple(arrays), others)
    operands, outputs = [*arrays.values()], call.operation.outputs
    results = add_layer(da, task, call.name, operands, dtype, len(outputs), whole=whole, cut=mask is None)
    if call.gradients:
        shapes = (arguments.shape_of(call.operands[name]) for name in call.gradients)
        return tuple(gradients.sum_to(gradient, shape, add) for gradient, shape in zip(results, shapes, strict=True))
    if call.operation.makes_mask:
        y, masks = results
        return y, ChunkedMask.made(masks, y.shape, call.spec.masks_of, call.parameters)
    return results if len(results) > 1 else results[0]


def _in_two_steps(call: Call, prepared: Prepared) -> Any:
    """Let Dask add, then apply the function."""
    spec: Any = call.spec
    x, b = prepared.operands["x"], prepared.operands[spec.gate]
    result = addition.applied(call, x + b)
    if not call.gradients:
        return result
    _require_known_sums(call.name, [operand for operand in (x, b) if is_lazy(operand)], result.shape)
    return tuple(gradients.sum_to(result, arguments.shape_of(operand), add) for operand in (x, b))


def _rows(call: Call) -> Any:
    """Compute along rows.

    A row must lie in one chunk, as its sum has one order whatever the chunks are: the arrays are rechunked so.
    """
    da = one_module(call.name, call.arrays)
    if len(call.operation.outputs) > 1:
        raise TypeError(
            f"{call.name}: the gradient of sink is not computed of Dask arrays; leave out sink and pass y, which gives "
            "dx, or make the call on the chunks"
        )
    dtype, operands, _, shape, axes = _prepare(call, da)
    arrays = {name: array if is_lazy(array) else _whole(da, array) for name, array in operands.items()}
    beside, settings, joined = {}, {"axis": axes}, axes
    if call.options is not None:
        options = row_options.checked(call.name, _numbers(call), shape, axes, dtype)
        beside = _beside_rows(da, options, axes, len(shape))
        settings |= {name: value for name, value in options._asdict().items() if name not in beside}
        joined = (len(shape) - 2, *axes) if options.causal else axes  # the number of a row says where it ends
    *_, last = arrays
    arrays[last] = in_one_chunk(call.name, last, arrays[last], joined)
    task = Task(call.function, call.method, (*beside, *arrays), settings)
    every = [*beside.values(), *arrays.values()]
    (result,) = add_layer(da, task, call.name, every, dtype, 1, whole=tuple(arrays), cut=False)
    return result


def _numbers(call: Call) -> row_options.RowOptions:
    """Check the options of a call that are arrays: of Dask, or what NumPy makes arrays of."""
    assert call.options is not None
    arrays = dict(call.options.arrays)
    for name, value in arrays.items():
        if not is_lazy(value) and registry.is_other(value):
            kind = arguments.full_name(type(value))
            raise TypeError(f"{call.name}: {name} is a {kind}, and the call has Dask arrays")
        row_options.require_shown(call.name, name, value)
        if name == "sink":
            value = arguments.operand(call.name, name, value)
        arrays[name] = value if is_lazy(value) else np.asarray(value)
    options: row_options.RowOptions = call.options._replace(**arrays)
    return options


def _beside_rows(da: Any, options: row_options.RowOptions, axes: tuple[int, ...], dimensions: int) -> dict[str, Any]:
    """Return the options that are arrays as Dask's, with an axis for each of x; sinks have one element along a row."""
    arrays = {}
    for name, array in options.arrays.items():
        if not array.ndim and not is_lazy(array):
            continue
        own = [k for k in range(dimensions) if name == "where" or k not in axes]
        taken = own[len(own) - array.ndim :]
        index = tuple(slice(None) if k in taken else None for k in range(dimensions))
        arrays[name] = (array if is_lazy(array) else _whole(da, array))[index]
    return arrays


def _quantized(call: Call) -> Any:
    """Compute a function of quantised integers: checked here, by a table that each process makes."""
    da = one_module(call.name, call.operands)
    q = call.operands["q"]
    if not is_lazy(q):
        raise TypeError(f"{call.name}: q is a {arguments.full_name(type(q))}, and the call has Dask arrays")
    lookup.table_of_quantized(call, q.dtype)
    task = Task(call.function, call.method, ("q",), call.parameters)
    (result,) = add_layer(da, task, call.name, [q], q.dtype, 1, whole=(), cut=False)
    return result


def join(parts: tuple[Any, Any], axis: int, interleaved: bool) -> Any:
    """Pack two arrays into one, behind one another or interleaved."""
    da, (first, _) = module_of(parts[0]), parts
    if not interleaved:
        return da.concatenate(parts, axis=axis)
    shape = (*first.shape[:axis], 2 * first.shape[axis], *first.shape[axis + 1 :])
    return da.stack(parts, axis=axis + 1).reshape(shape)


def _reduced(call: Call) -> Any:
    """Compute one number a row, or its gradient: each task keeps the axes of a row, with one element."""
    da = one_module(call.name, call.arrays)
    dtype, operands, _, _, axes = _prepare(call, da)
    assert call.options is not None
    given = {**operands, **call.options.arrays}
    arrays = {name: array if is_lazy(array) else _whole(da, array) for name, array in given.items()}
    if "dy" in arrays and not is_lazy(operands["dy"]):  # a number adapts to the dtype of x
        arrays["dy"] = arrays["dy"].astype(dtype)
    if "dy" in arrays and not call.options.keepdims:
        index = tuple(None if k in axes else slice(None) for k in range(arrays["x"].ndim))
        arrays["dy"] = arrays["dy"][index]
    arrays["x"] = in_one_chunk(call.name, "x", arrays["x"], axes)
    names = (*(name for name in arrays if name != "x"), "x")  # the last keeps its chunks
    task = Task(call.function, call.method, names, {"axis": axes, "keepdims": True})
    reduced = () if "dy" in arrays else axes
    chunked = [arrays[name] for name in names]
    (result,) = add_layer(da, task, call.name, chunked, dtype, 1, cut=False, reduced=reduced)
    if reduced and not call.options.keepdims:
        result = result[tuple(0 if k in axes else slice(None) for k in range(result.ndim))]
    return result


def snapshot(value: Any) -> Any:
    """Return a parameter as it is now: an array of Dask can be assigned to, except with query planning."""
    return value.copy() if hasattr(value, "copy") else value


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to an array of Dask."""
    return False


def _whole(da: Any, array: Any) -> Any:
    """Make a Dask array that is cut as the others are."""
    return da.from_array(np.asanyarray(array), chunks=-1)


def _prepare(call: Call, da: Any) -> Prepared:
    """Check the arguments of a call: Dask arrays, arrays to be cut, and numbers that every task gets."""
    prepared = prepare(call, partial(_operand, da))
    for name, value in prepared.parameters.items():
        if not is_lazy(value):
            arguments.fitting(call.name, name, value, prepared.dtype)
    return prepared


def _operand(da: Any, function: str, name: str, value: Any) -> Any:
    """Check an argument of a call."""
    if isinstance(value, Mask):
        return value
    if not is_lazy(value) and registry.is_other(value):
        raise TypeError(
            f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has Dask arrays; "
            f"make one of it by {da.__name__}.from_array({name})"
        )
    operand = arguments.operand(function, name, value)
    return operand[()] if type(operand) is np.ndarray and operand.ndim == 0 else operand


def _apart(da: Any, call: Call, prepared: Prepared) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of a call as Dask's, and the numbers that every task gets."""
    dtype, operands, parameters, *_ = prepared
    given = {name: value for name, value in (operands | parameters).items() if not isinstance(value, Mask)}
    arrays = {
        name: value if is_lazy(value) else _whole(da, value)
        for name, value in given.items()
        if is_lazy(value) or np.ndim(value) or subclasses.is_masked(value)
    }
    if dtypes.is_tabulated(dtype):
        return arrays, {name: value for name, value in given.items() if name not in arrays}
    own = arguments.resolve(call.spec.selects, [given[name] for name in operands if name in given])
    if own.kind in "iu" and dtype != own:  # a task would look at the numbers of a parameter, which may fit
        arrays = {name: array.astype(dtype) if name in operands else array for name, array in arrays.items()}
    return arrays, {name: value for name, value in given.items() if name not in arrays}


def _require_known_sums(function: str, operands: list[Any], shape: tuple[Any, ...]) -> None:
    """Refuse to sum gradients over sides of which nobody knows whether they were broadcast."""
    alike = all(arguments.may_be_equal(array.shape, shape) for array in operands)
    if not alike and any(has_unknown(array.shape) for array in operands):
        raise ValueError(
            f"{function}: a gradient cannot be summed over unknown sides; call compute_chunk_sizes() first"
        )


def add(gradient: Any, axes: tuple[int, ...], shape: tuple[Any, ...]) -> Any:
    """Sum a gradient by chunks, in their order."""
    total = gradient.sum(axis=axes, dtype=dtypes.summing(gradient.dtype), keepdims=True)
    total = total.map_blocks(dtypes.cast, gradient.dtype, dtype=gradient.dtype)
    return total[(0,) * (gradient.ndim - len(shape))]
