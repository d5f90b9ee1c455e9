"""The calls of an activation function, on anything that a user may pass.

The public functions of `_activation` come here with what the compiled call did not take. Nothing is written
before everything has been checked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from . import _arguments, _dispatch
from ._block import BACKWARD, DERIVATIVE, VALUE, VALUE_AND_DERIVATIVE, Block, Direction
from ._mask import Mask
from .cpu.interpreter import sweep
from .cpu.ufuncs import Method, raise_kept, register_bfloat16
from .words import arrays as array_words
from .words import rebind
from .words.text import describe

Methods = dict[str, Method]  # by the name of the direction


def call(
    block: Block,
    direction: Direction,
    methods: Methods,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...] | None = None,
) -> Any:
    """Call a direction without a mask: compiled over whole arrays if they are that simple, else its ufunc."""
    function = block.named(direction)
    names = names or direction.inputs
    if served := _dispatch.backend(*arrays, *values):
        return served.call(block, direction, arrays, out, values, names)
    register_bfloat16()
    method = methods[direction.name]
    operands = [_arguments.operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    foreign = next((array for array in (*operands, *values) if _arguments.is_foreign(array)), None)
    if foreign is not None:
        return _call_foreign(function, block, method.ufunc, operands, foreign, out, values)
    dtype = _arguments.holding(_arguments.resolve(block, operands), values)
    parameters = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, (*names, *block.parameters), (*operands, *parameters))
    if out is not None:
        _arguments.require_out(function, direction.outputs, out, shape, dtype)
    if any(isinstance(array, np.ndarray) for array in operands):
        operands = [_arguments.cast(np.asarray(a), dtype) if type(a) in (int, float) else a for a in operands]
    method.prepare(dtype)
    given = (None,) * len(direction.outputs) if out is None else out if isinstance(out, tuple) else (out,)
    simple, *others = ([_arguments.canonical(a, dtype) for a in arrays] for arrays in (operands, parameters, given))
    result = method.compiled(*simple, *others[0], *others[1])
    if result is NotImplemented:
        result = method.call_with_casts(dtype, simple, (*others[0], *others[1]))
    if result is NotImplemented:
        result = method.ufunc(*operands, *parameters, **({} if out is None else {"out": out}))
        raise_kept()
    elif out is not None:  # not a view of it
        made = result if isinstance(result, tuple) else (result,)
        result = tuple(array if own is None else own for own, array in zip(given, made, strict=True))
        result = result[0] if len(result) == 1 else result
    return result


def _call_foreign(
    function: str, block: Block, ufunc: Any, operands: list[Any], foreign: Any, out: Any, values: tuple[Any, ...]
) -> Any:
    """Hand the ufunc to the library of an array, which knows what to do with it."""
    kind = _arguments.full_name(type(foreign))
    _arguments.refuse_out(function, out, (foreign,))
    try:
        parameters: tuple[Any, ...] = ()
        if values:  # pandas would make float64 of a Python number, and of the result
            dtype = _arguments.resolve(block, operands)
            parameters = _arguments.parameters(function, block, values, dtype)
        result = ufunc(*operands, *parameters)
    except TypeError as error:
        raise TypeError(f"{function}: {kind} refuses it ({error}); convert to NumPy first") from error
    raise_kept()
    return result


def gated(block: Block, direction: Direction, methods: Methods, arrays: tuple[Any, ...], gate: Any, out: Any) -> Any:
    """Call a direction of a function of two arrays, which are equals: their dtypes promote, their shapes broadcast."""
    if served := _dispatch.backend(*arrays, gate):
        return served.call(block, direction, arrays, out, (gate,), direction.inputs)
    function = block.named(direction)
    (name,) = block.parameters
    operands = [_arguments.operand(function, n, a) for n, a in zip(direction.inputs, arrays, strict=True)]
    gate = _arguments.operand(function, name, gate)
    if not any(_arguments.is_foreign(array) for array in (*operands, gate)):
        dtype = _arguments.resolve(block, [*operands, gate])
        numbers = [np.asarray(array) for array in (*operands, gate)]
        *operands, gate = [a if a.dtype == dtype else _arguments.cast(a, dtype) for a in numbers]
    return call(block, direction, methods, tuple(operands), out, (gate,))


def gated_backward(
    block: Block, direction: Direction, methods: Methods, arrays: tuple[Any, ...], gate: Any, out: Any
) -> Any:
    """Compute both gradients; where an array was broadcast, its gradient is summed to its shape.

    The sum is NumPy's over an array in C order, so it depends neither on threads nor on how the arrays lay.
    """
    dy, x = arrays
    if _dispatch.backend(dy, x, gate):
        return gated(block, direction, methods, arrays, gate, out)
    shapes = np.shape(x), np.shape(gate)
    if any(_arguments.is_foreign(array) for array in (dy, x, gate)):
        raise TypeError(f"{block.name}.backward takes NumPy arrays; convert to NumPy first")
    whole = np.broadcast_shapes(np.shape(dy), *shapes)
    if shapes == (whole, whole):
        return gated(block, direction, methods, arrays, gate, out)
    function = f"{block.name}.backward"
    gradients = gated(block, direction, methods, arrays, gate, None)
    return sum_gradients(function, direction, gradients, shapes, out)


def sum_gradients(
    function: str, direction: Direction, gradients: tuple[Any, Any], shapes: tuple[tuple[int, ...], ...], out: Any
) -> tuple[Any, ...]:
    """Sum each gradient to the shape of its array, by the library that the gradients are of."""
    given = (None, None) if out is None else out
    if out is not None and not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(f"{function}: out takes a tuple of two arrays for ({', '.join(direction.outputs)})")
    for array, shape, name in zip(given, shapes, direction.outputs, strict=True):
        if array is not None:
            _arguments.require_out(function, (name,), array, shape, gradients[0].dtype, type(gradients[0]))
    return tuple(_summed(g, shape, o) for g, shape, o in zip(gradients, shapes, given, strict=True))


def _summed(gradient: Any, shape: tuple[int, ...], out: Any) -> Any:
    axes = _arguments.broadcast_axes(gradient.shape, shape)
    if axes:
        wide = np.float64 if gradient.dtype.itemsize < 8 else gradient.dtype
        whole = gradient if gradient.flags.c_contiguous else gradient.copy()
        total = whole.sum(axis=axes, dtype=wide, keepdims=True)
        gradient = _arguments.cast(total.reshape(shape), gradient.dtype)
    if out is None:
        return gradient
    out[...] = gradient
    return out


def gated_vjp(activation: Any, x: Any, gate: Any, out: Any) -> tuple[Any, Any]:
    """Compute the value, and keep both arrays for backward."""
    if _arguments.may_share_memory(out, x, gate):
        raise ValueError(f"{activation.__name__}.vjp: out would overwrite what the backward call needs")
    return activation(x, gate, out), partial(_backward_of, activation, x, gate)


def _backward_of(activation: Any, x: Any, gate: Any, dy: Any, out: Any = None) -> Any:
    return activation.backward(dy, x, gate, out)


def value_and_derivative(
    block: Block, methods: Methods, arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...]
) -> Any:
    """Call the ufunc with two outputs; xarray takes none such, and gets two ufuncs."""
    if _dispatch.backend(*arrays, *values) or not any(_arguments.is_foreign(array) for array in (*arrays, *values)):
        return call(block, VALUE_AND_DERIVATIVE, methods, arrays, out, values)
    return call(block, VALUE, methods, arrays, out, values), call(block, DERIVATIVE, methods, arrays, out, values)


def backward(
    block: Block, methods: Methods, dy: Any, x: Any, out: Any, y: Any, mask: Any, values: tuple[Any, ...]
) -> Any:
    """Call backward from x, y or a mask."""
    if mask is not None and x is None and y is None:
        return _backward_from_mask(block, methods, dy, out, mask, values)
    function = f"{block.name}.backward"
    if (x is None) == (y is None) or mask is not None:
        given = [name for name, array in (("x", x), ("y", y), ("mask", mask)) if array is not None]
        raise TypeError(
            f"{function} takes dy and one of {', '.join(block.backward_from)}; it got {' and '.join(given) or 'none'}"
        )
    if x is not None:
        return call(block, BACKWARD, methods, (dy, x), out, values)
    _require_source(function, block, "y")
    _require_y_to_determine(function, block, values)
    dx = methods["backward"].compiled(dy, y, *values, out)
    if dx is not NotImplemented:
        return dx
    return call(block, BACKWARD, methods, (dy, y), out, values, names=("dy", "y"))


def _require_source(function: str, block: Block, source: str) -> None:
    if source not in block.backward_from:
        others = " or ".join(f"{name}=" for name in block.backward_from)
        raise TypeError(f"{function}: {source} does not determine the derivative of {block.name}; pass {others}")


def _require_y_to_determine(function: str, block: Block, values: tuple[Any, ...]) -> None:
    if block.y_determines is None:
        return
    if _dispatch.backend(*values):
        raise TypeError(
            f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
            "which is not looked up in arrays on a device or of another library; pass x"
        )
    numbers = _arguments.parameters(function, block, values, np.dtype(np.float64))
    if not np.all(rebind(block.y_determines, array_words.words(np.float64))(*numbers)):
        settings = ", ".join(f"{name}={value}" for name, value in zip(block.parameters, values, strict=True))
        others = " or ".join(f"{name}=" for name in block.backward_from if name != "y")
        raise ValueError(
            f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
            f"and this call has {settings}; pass {others}"
        )


def _backward_from_mask(block: Block, methods: Methods, dy: Any, out: Any, mask: Any, values: tuple[Any, ...]) -> Any:
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
    if served := _dispatch.backend(dy, mask._bits, *values):
        return served.backward_from_mask(block, dy, out, mask, values)
    method = methods["backward_from_mask"]
    if getattr(dy, "shape", None) == mask.shape:
        dx = method.compiled(dy, mask._bits, *values, out)
        if dx is not NotImplemented:
            return dx
    register_bfloat16()
    dy = _arguments.native(function, "dy", dy)
    dtype = _arguments.holding(_arguments.resolve(block, [dy]), values)
    try:
        dy = np.broadcast_to(dy, mask.shape, subok=True)
    except ValueError:
        raise ValueError(f"{function}: dy has shape {dy.shape}, the mask {mask.shape}") from None
    numbers = _arguments.parameters(function, block, values, dtype)
    dx = _result(function, "dx", out, dy, dtype)
    _with_bits(method, dtype, dy, numbers, mask._bits, dx, making=False)
    return dx if out is not None else _like(dy, dx)


def with_mask(block: Block, methods: Methods, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    function = f"{block.name}.with_mask"
    _require_source(function, block, "mask")
    if served := _dispatch.backend(x, *values):
        return served.with_mask(block, x, out, values)
    method = methods["with_mask"]
    if type(x) is np.ndarray and all(type(value) is float for value in values):
        both = method.compiled(x, *values, out, None)
        if both is not NotImplemented:
            return both[0], Mask.made(
                both[1], x.shape, block.full_name, dict(zip(block.parameters, values, strict=True))
            )
    register_bfloat16()
    x = _arguments.native(function, "x", x)
    dtype = _arguments.holding(_arguments.resolve(block, [x]), values)
    numbers = _arguments.parameters(function, block, values, dtype)
    shape = _arguments.broadcast(function, ("x", *block.parameters), (x, *numbers))
    x = np.broadcast_to(x, shape, subok=True)
    y = _result(function, "y", out, x, dtype)
    bits = np.empty((x.size + 7) // 8, np.uint8)
    recorded = _arguments.recorded(block, values)  # before `out`, which may be one of them, is written
    _with_bits(method, dtype, x, numbers, bits, y, making=True)
    return y if out is not None else _like(x, y), Mask.made(bits, shape, block.full_name, recorded)


def vjp(block: Block, activation: Any, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Compute the value, and keep for backward a mask, else x; never y, which the user may overwrite."""
    parameters = dict(zip(block.parameters, values, strict=True))
    served = _dispatch.backend(x, *values)
    masks = served.MASKS if served else not _arguments.is_foreign(x)
    if masks and "mask" in block.backward_from:
        y, mask = activation.with_mask(x, out, **parameters)
        return y, partial(activation.backward, mask=mask, **mask.parameters)
    if _arguments.may_share_memory(out, x):
        raise ValueError(f"{block.name}.vjp: out would overwrite x, which the backward call needs")
    kept = _arguments.recorded(block, values)  # copies: the user may update the parameters before the backward call
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


def _with_bits(
    method: Method, dtype: Any, source: Any, numbers: tuple[Any, ...], bits: Any, target: Any, *, making: bool
) -> None:
    """Run a direction with a mask over arrays of one shape and of any layout, in C order."""
    source, target = (_arguments.canonical(np.asarray(array), dtype) for array in (source, target))
    if source.dtype != dtype:
        source = _arguments.cast(source, dtype)
    elif np.may_share_memory(source, target) and not _is_same_view(source, target):
        source = source.copy()
    parameters = [number.copy() if np.may_share_memory(number, target) else number for number in numbers]
    parameters = [_arguments.canonical(number, dtype) for number in parameters]
    if target.ndim == 0:
        source, target = source.reshape(1), target.reshape(1)
    method.prepare(target.dtype)
    operands = [source, *parameters, target, bits] if making else [source, bits, *parameters, target]
    if method.compiled(*operands) is NotImplemented:
        sweep(method.block, method.direction, target.dtype, operands)


def _is_same_view(a: Any, b: Any) -> bool:
    (data, _), (other, _) = a.__array_interface__["data"], b.__array_interface__["data"]
    return bool(data == other and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype)


def _signature(function: str, parameters: Any) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
