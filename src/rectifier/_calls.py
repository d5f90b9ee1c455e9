"""The calls of an activation function, on anything that a user may pass.

The public functions of `_activation` come here with what a bare ufunc call refused. Nothing is written
before everything has been checked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from . import _arguments
from ._block import BACKWARD, DERIVATIVE, VALUE, VALUE_AND_DERIVATIVE, Block, Direction
from ._mask import Mask
from .cpu.ufuncs import register_bfloat16
from .words import numpy as numpy_words
from .words import rebind
from .words.text import describe

BLOCK = 1 << 16  # elements that a mask loop takes at a time from an array that is not contiguous; whole bytes of bits


def call(
    block: Block,
    direction: Direction,
    ufuncs: dict[str, np.ufunc],
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...] | None = None,
) -> Any:
    """Call an elementwise ufunc."""
    function = block.name if direction is VALUE else f"{block.name}.{direction.name}"
    names = names or direction.inputs
    register_bfloat16()
    ufunc = ufuncs[direction.name]
    operands = [_arguments.operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    foreign = next((array for array in (*operands, *values, out) if _arguments.is_foreign(array)), None)
    keywords = {} if out is None else {"out": out}
    if foreign is not None:
        try:
            return ufunc(*operands, *_arguments.foreign_parameters(ufunc, operands, values), **keywords)
        except TypeError as error:
            kind = f"{type(foreign).__module__}.{type(foreign).__qualname__}"
            raise TypeError(f"{function}: {kind} refuses it ({error}); convert to NumPy first") from error
    dtype = _arguments.resolve(ufunc, operands, len(values))
    numbers = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, (*names, *block.parameters), (*operands, *numbers))
    if out is not None:
        _arguments.require_out(function, direction.outputs, out, shape, dtype)
    return ufunc(*operands, *numbers, **keywords)


def value_and_derivative(
    block: Block, ufuncs: dict[str, np.ufunc], arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...]
) -> Any:
    """Call the ufunc with two outputs; Dask and xarray take none such, and get two ufuncs."""
    if not _arguments.is_foreign(arrays[0]):
        return call(block, VALUE_AND_DERIVATIVE, ufuncs, arrays, out, values)
    y, d = (None, None) if out is None else out
    return call(block, VALUE, ufuncs, arrays, y, values), call(block, DERIVATIVE, ufuncs, arrays, d, values)


def backward(
    block: Block,
    ufuncs: dict[str, np.ufunc],
    dy: Any,
    x: Any,
    out: Any,
    y: Any,
    mask: Any,
    values: tuple[Any, ...],
) -> Any:
    """Call backward from x, y or a mask."""
    if mask is not None and x is None and y is None:
        return _backward_from_mask(block, ufuncs, dy, out, mask, values)
    function = f"{block.name}.backward"
    if (x is None) == (y is None) or mask is not None:
        given = [name for name, array in (("x", x), ("y", y), ("mask", mask)) if array is not None]
        raise TypeError(
            f"{function} takes dy and one of {', '.join(block.backward_from)}; it got {' and '.join(given) or 'none'}"
        )
    if x is not None:
        return call(block, BACKWARD, ufuncs, (dy, x), out, values)
    _require_source(function, block, "y")
    _require_y_to_determine(function, block, values)
    try:
        if out is None:
            return ufuncs["backward"](dy, y, *values, casting="no")
    except (TypeError, ValueError):
        pass
    return call(block, BACKWARD, ufuncs, (dy, y), out, values, names=("dy", "y"))


def _require_source(function: str, block: Block, source: str) -> None:
    if source not in block.backward_from:
        others = " or ".join(f"{name}=" for name in block.backward_from)
        raise TypeError(f"{function}: {source} does not determine the derivative of {block.name}; pass {others}")


def _require_y_to_determine(function: str, block: Block, values: tuple[Any, ...]) -> None:
    if block.y_determines is None:
        return
    condition = rebind(block.y_determines, numpy_words.words(np.float64))
    if not np.all(condition(*map(np.asarray, values))):
        settings = ", ".join(f"{name}={value}" for name, value in zip(block.parameters, values, strict=True))
        others = " or ".join(f"{name}=" for name in block.backward_from if name != "y")
        raise ValueError(
            f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
            f"and this call has {settings}; pass {others}"
        )


def _backward_from_mask(
    block: Block, ufuncs: dict[str, np.ufunc], dy: Any, out: Any, mask: Any, values: tuple[Any, ...]
) -> Any:
    function = f"{block.name}.backward"
    if not isinstance(mask, Mask):
        raise TypeError(f"{function}: mask is a {type(mask).__name__}; it takes what {block.name}.with_mask returned")
    parameters = dict(zip(block.parameters, values, strict=True)) if values else {}
    if not mask.agrees(block.full_name, parameters):
        _require_source(function, block, "mask")
        raise ValueError(
            f"{function}: this call is {_signature(block.full_name, parameters)}, "
            f"the mask was made by {_signature(mask.function, mask.parameters)}"
        )
    if out is None and type(dy) is np.ndarray and dy.shape == mask.shape and dy.flags.c_contiguous:
        try:
            numbers = _one_number_each(values, dy) if values else ()
            return ufuncs["backward_from_mask"](dy.ravel(), mask.bits, *numbers, casting="no").reshape(dy.shape)
        except (TypeError, ValueError):
            pass
    register_bfloat16()
    dy = _arguments.native(function, "dy", dy)
    dtype = _arguments.resolve(ufuncs["value"], [dy], len(values))
    try:
        dy = np.broadcast_to(dy, mask.shape, subok=True)
    except ValueError:
        raise ValueError(f"{function}: dy has shape {dy.shape}, the mask {mask.shape}") from None
    numbers = _arguments.parameters(function, block, values, dtype)
    dx = _result(function, "dx", out, dy, dtype)
    _sweep(ufuncs["backward_from_mask"], dy, numbers, mask.bits, dx, making=False)
    return dx[()] if dx.ndim == 0 and out is None else dx


def with_mask(block: Block, ufuncs: dict[str, np.ufunc], x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    if out is None and type(x) is np.ndarray and x.flags.c_contiguous and "with_mask" in ufuncs:
        bits = np.empty((x.size + 7) // 8, np.uint8)
        try:
            numbers = _one_number_each(values, x) if values else ()
            y, _ = ufuncs["with_mask"](x.ravel(), *numbers, None, bits, casting="no")
            return y.reshape(x.shape), Mask(bits, x.shape, block.full_name, _recorded(block, values) if values else {})
        except (TypeError, ValueError):
            pass
    function = f"{block.name}.with_mask"
    _require_source(function, block, "mask")
    register_bfloat16()
    x = _arguments.native(function, "x", x)
    dtype = _arguments.resolve(ufuncs["value"], [x], len(values))
    numbers = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, ("x", *block.parameters), (x, *numbers))
    x = np.broadcast_to(x, shape, subok=True)
    y = _result(function, "y", out, x, dtype)
    bits = np.empty((x.size + 7) // 8, np.uint8)
    recorded = _recorded(block, values)  # before `out`, which may be one of them, is written
    _sweep(ufuncs["with_mask"], x, numbers, bits, y, making=True)
    return y[()] if y.ndim == 0 and out is None else y, Mask(bits, shape, block.full_name, recorded)


def vjp(block: Block, activation: Any, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Compute the value, and keep for backward a mask, else x; never y, which the user may overwrite."""
    parameters = dict(zip(block.parameters, values, strict=True))
    if "mask" in block.backward_from and not _arguments.is_foreign(x):
        y, mask = activation.with_mask(x, out, **parameters)
        return y, partial(activation.backward, mask=mask, **parameters)
    if isinstance(out, np.ndarray) and np.may_share_memory(out, x):
        raise ValueError(f"{block.name}.vjp: out would overwrite x, which the backward call needs")
    return activation(x, out, **parameters), partial(activation.backward, x=x, **parameters)


def _result(function: str, output: str, out: Any, like: Any, dtype: Any) -> Any:
    """Check `out`, or make the array that an elementwise ufunc would have made."""
    if out is None:
        return np.empty_like(like, dtype=dtype)
    _arguments.require_out(function, (output,), out, like.shape, dtype)
    return out[0] if isinstance(out, tuple) else out


def _one_number_each(values: tuple[Any, ...], like: Any) -> list[Any]:
    """Give parameters that are Python numbers as arrays of one; a generalised ufunc takes no scalars.

    Raises
    ------
    TypeError
        If one of them is anything else.
    """
    if not all(type(value) in (int, float) for value in values):
        raise TypeError
    return [np.array([value], like.dtype) for value in values]


def _recorded(block: Block, values: tuple[Any, ...]) -> dict[str, Any]:
    """Give the parameters of a call as a mask keeps them: copies, which nobody changes later."""
    return {
        name: value if type(value) in (int, float) else np.array(value)
        for name, value in zip(block.parameters, values, strict=True)
    }


def _sweep(ufunc: np.ufunc, source: Any, numbers: tuple[Any, ...], bits: Any, target: Any, *, making: bool) -> None:
    """Run a mask loop over arrays of any layout in C index order, with no temporary of their size."""
    source, target = np.asarray(source), np.asarray(target)
    in_place = _is_same_view(source, target)
    if not in_place and np.may_share_memory(source, target):
        source = source.copy()
    parameters = [_parameter(number, target) for number in numbers]
    here, there = _elements(source), _elements(target)
    # NumPy copies what a generalised ufunc reads and writes at once: in place, let it be a block.
    direct = isinstance(here, np.ndarray) and isinstance(there, np.ndarray) and not in_place
    step = target.size if direct else BLOCK
    for start in range(0, target.size, step or 1):
        stop = min(start + step, target.size)
        x = here[start:stop].astype(target.dtype, copy=False)
        y = there[start:stop]
        values = [p if isinstance(p, np.ndarray) and p.size == 1 else p[start:stop] for p in parameters]
        flags = bits[start // 8 : (stop + 7) // 8]
        if making:
            ufunc(x, *values, out=(y, flags))
        else:
            ufunc(x, flags, *values, out=y)
        if not isinstance(there, np.ndarray):
            there[start:stop] = y  # the slice of a flat iterator is a copy


def _parameter(number: Any, target: Any) -> Any:
    """Give a parameter as one element, or as many as there are in `target`."""
    array = np.asarray(number, target.dtype)
    if array.size == 1:
        return array.reshape(1)
    return _elements(np.broadcast_to(array.copy() if np.may_share_memory(array, target) else array, target.shape))


def _elements(array: Any) -> Any:
    """See an array as one dimension in C order; its slices are views where they can be, else copies."""
    return array.reshape(-1) if array.flags.c_contiguous else array.flat


def _is_same_view(a: Any, b: Any) -> bool:
    (data, _), (other, _) = a.__array_interface__["data"], b.__array_interface__["data"]
    return bool(data == other and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype)


def _signature(function: str, parameters: dict[str, Any]) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
