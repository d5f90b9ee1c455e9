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
from .cpu.ufuncs import Ufunc, raise_kept, register_bfloat16
from .words import numpy as numpy_words
from .words import rebind
from .words.text import describe

BLOCK = 1 << 16  # elements that a mask loop takes at a time from an array that is not contiguous; whole bytes of bits

Ufuncs = dict[str, Ufunc]  # by the name of the direction


def call(
    block: Block,
    direction: Direction,
    ufuncs: Ufuncs,
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
    foreign = next((array for array in (*operands, *values) if _arguments.is_foreign(array)), None)
    if foreign is not None:
        return _call_foreign(function, block, ufunc, operands, foreign, out, values)
    dtype = _arguments.resolve(ufunc.public, operands, len(values))
    parameters = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, (*names, *block.parameters), (*operands, *parameters))
    if out is not None:
        _arguments.require_out(function, direction.outputs, out, shape, dtype)
    if any(isinstance(array, np.ndarray) for array in operands):
        operands = [_arguments.cast(np.asarray(a), dtype) if type(a) in (int, float) else a for a in operands]
    ufunc.prepare(dtype)
    result = ufunc.public(*operands, *parameters, **({} if out is None else {"out": out}))
    raise_kept()
    return result


def _call_foreign(
    function: str, block: Block, ufunc: Ufunc, operands: list[Any], foreign: Any, out: Any, values: tuple[Any, ...]
) -> Any:
    """Hand the ufunc to the library of an array, which knows what to do with it."""
    kind = f"{type(foreign).__module__}.{type(foreign).__qualname__}"
    if out is not None:
        raise TypeError(f"{function}: out is for NumPy arrays, and this call has a {kind}: assign the result instead")
    try:
        parameters: tuple[Any, ...] = ()
        if values:  # pandas would make float64 of a Python number, and of the result
            dtype = _arguments.resolve(ufunc.public, operands, len(values))
            parameters = _arguments.parameters(function, block, values, dtype)
        result = ufunc.public(*operands, *parameters)
    except TypeError as error:
        raise TypeError(f"{function}: {kind} refuses it ({error}); convert to NumPy first") from error
    raise_kept()
    return result


def value_and_derivative(
    block: Block, ufuncs: Ufuncs, arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...]
) -> Any:
    """Call the ufunc with two outputs; Dask and xarray take none such, and get two ufuncs."""
    if not any(_arguments.is_foreign(array) for array in (*arrays, *values)):
        return call(block, VALUE_AND_DERIVATIVE, ufuncs, arrays, out, values)
    return call(block, VALUE, ufuncs, arrays, out, values), call(block, DERIVATIVE, ufuncs, arrays, out, values)


def backward(
    block: Block, ufuncs: Ufuncs, dy: Any, x: Any, out: Any, y: Any, mask: Any, values: tuple[Any, ...]
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
    exact = ufuncs["backward"].exact
    if exact is not None and type(dy) is type(y) is np.ndarray and (out is None or _is_like(out, dy, y)):
        try:
            numbers = [_arguments.number(value, dy.dtype) for value in values] if values else ()
            return exact(dy, y, *numbers, out, casting="no")
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
    numbers = _arguments.parameters(function, block, values, np.dtype(np.float64))
    if not np.all(rebind(block.y_determines, numpy_words.words(np.float64))(*numbers)):
        settings = ", ".join(f"{name}={value}" for name, value in zip(block.parameters, values, strict=True))
        others = " or ".join(f"{name}=" for name in block.backward_from if name != "y")
        raise ValueError(
            f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
            f"and this call has {settings}; pass {others}"
        )


def _backward_from_mask(block: Block, ufuncs: Ufuncs, dy: Any, out: Any, mask: Any, values: tuple[Any, ...]) -> Any:
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
    exact = ufuncs["backward_from_mask"].exact
    if exact is not None and type(dy) is np.ndarray and dy.shape == mask.shape and _is_flat(dy, out):
        try:
            numbers = [_arguments.number(value, dy.dtype).reshape(1) for value in values] if values else ()
            if out is None:
                return exact(dy.ravel(), mask._bits, *numbers, casting="no").reshape(dy.shape)
            exact(dy.ravel(), mask._bits, *numbers, out.ravel(), casting="no")
            return out
        except (TypeError, ValueError):
            pass
    register_bfloat16()
    dy = _arguments.native(function, "dy", dy)
    dtype = _arguments.resolve(ufuncs["value"].public, [dy], len(values))
    try:
        dy = np.broadcast_to(dy, mask.shape, subok=True)
    except ValueError:
        raise ValueError(f"{function}: dy has shape {dy.shape}, the mask {mask.shape}") from None
    numbers = _arguments.parameters(function, block, values, dtype)
    dx = _result(function, "dx", out, dy, dtype)
    _sweep(ufuncs["backward_from_mask"], dy, numbers, mask._bits, dx, making=False)
    return dx if out is not None else _like(dy, dx)


def with_mask(block: Block, ufuncs: Ufuncs, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    exact = ufuncs["with_mask"].exact if "with_mask" in ufuncs else None
    if exact is not None and type(x) is np.ndarray and _is_flat(x, out):
        bits = np.empty((x.size + 7) // 8, np.uint8)
        try:
            numbers = [_arguments.number(value, x.dtype).reshape(1) for value in values] if values else ()
            y, _ = exact(x.ravel(), *numbers, None if out is None else out.ravel(), bits, casting="no")
            mask = Mask.made(bits, x.shape, block.full_name, _recorded(block, values) if values else {})
            return y.reshape(x.shape) if out is None else out, mask
        except (TypeError, ValueError):
            pass
    function = f"{block.name}.with_mask"
    _require_source(function, block, "mask")
    register_bfloat16()
    x = _arguments.native(function, "x", x)
    dtype = _arguments.resolve(ufuncs["value"].public, [x], len(values))
    numbers = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, ("x", *block.parameters), (x, *numbers))
    x = np.broadcast_to(x, shape, subok=True)
    y = _result(function, "y", out, x, dtype)
    bits = np.empty((x.size + 7) // 8, np.uint8)
    recorded = _recorded(block, values)  # before `out`, which may be one of them, is written
    _sweep(ufuncs["with_mask"], x, numbers, bits, y, making=True)
    return y if out is not None else _like(x, y), Mask.made(bits, shape, block.full_name, recorded)


def vjp(block: Block, activation: Any, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Compute the value, and keep for backward a mask, else x; never y, which the user may overwrite."""
    parameters = dict(zip(block.parameters, values, strict=True))
    kept = _recorded(block, values)  # copies: the user may update the parameters before the backward call
    if "mask" in block.backward_from and not _arguments.is_foreign(x):
        y, mask = activation.with_mask(x, out, **parameters)
        return y, partial(activation.backward, mask=mask, **kept)
    if isinstance(out, np.ndarray) and isinstance(x, np.ndarray) and np.may_share_memory(out, x):
        raise ValueError(f"{block.name}.vjp: out would overwrite x, which the backward call needs")
    return activation(x, out, **parameters), partial(activation.backward, x=x, **kept)


def _result(function: str, output: str, out: Any, like: Any, dtype: Any) -> Any:
    """Check `out`, or make the array that an elementwise ufunc would have made."""
    if out is None:
        return np.empty_like(like, dtype=dtype, subok=False)
    _arguments.require_out(function, (output,), out, like.shape, dtype)
    return out[0] if isinstance(out, tuple) else out


def _like(x: Any, y: Any) -> Any:
    """Give a fresh result the type that a ufunc gives it: that of x, or a scalar."""
    if type(x) is not np.ndarray:
        return x.__array_wrap__(y, None, y.ndim == 0)
    return y[()] if y.ndim == 0 else y


def _is_like(out: Any, *arrays: Any) -> bool:
    return type(out) is np.ndarray and all(out.shape == array.shape for array in arrays)


def _is_flat(x: Any, out: Any) -> bool:
    """Say whether a mask loop can take x, and write `out`, as one dimension and at once."""
    if not x.flags.c_contiguous:
        return False
    return out is None or (_is_like(out, x) and out.flags.c_contiguous and not np.may_share_memory(out, x))


def _recorded(block: Block, values: tuple[Any, ...]) -> dict[str, Any]:
    """Give the parameters of a call as a mask keeps them: copies, which nobody changes later."""
    return {
        name: value if type(value) in (int, float) else _frozen(value)
        for name, value in zip(block.parameters, values, strict=True)
    }


def _frozen(value: Any) -> Any:
    if _arguments.is_foreign(value):
        return value
    array = np.array(value)
    array.flags.writeable = False
    return array


def _sweep(ufunc: Ufunc, source: Any, numbers: tuple[Any, ...], bits: Any, target: Any, *, making: bool) -> None:
    """Run a mask loop over arrays of any layout in C index order, with no temporary of their size."""
    source, target = np.asarray(source), np.asarray(target)
    ufunc.prepare(target.dtype)
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
        x = _arguments.cast(here[start:stop], target.dtype)
        y = there[start:stop]
        values = [p if isinstance(p, np.ndarray) and p.size == 1 else p[start:stop] for p in parameters]
        flags = bits[start // 8 : (stop + 7) // 8]
        if making:
            ufunc.public(x, *values, out=(y, flags))
        else:
            ufunc.public(x, flags, *values, out=y)
        raise_kept()
        if not isinstance(there, np.ndarray):
            there[start:stop] = y  # the slice of a flat iterator is a copy


def _parameter(number: Any, target: Any) -> Any:
    """Give a parameter as one element, or as many as there are in `target`."""
    if number.size == 1:
        return number.reshape(1)
    return _elements(np.broadcast_to(number.copy() if np.may_share_memory(number, target) else number, target.shape))


def _elements(array: Any) -> Any:
    """See an array as one dimension in C order; its slices are views where they can be, else copies."""
    return array.reshape(-1) if array.flags.c_contiguous else array.squeeze().flat  # .flat has 32 dimensions at most


def _is_same_view(a: Any, b: Any) -> bool:
    (data, _), (other, _) = a.__array_interface__["data"], b.__array_interface__["data"]
    return bool(data == other and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype)


def _signature(function: str, parameters: Any) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
