"""The calls of an activation function, on anything that a user may pass.

The public functions of `_activation` come here with what the compiled call did not take. Nothing is written
before everything has been checked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..engine.callbacks import raising
from ..engine.interpreter import sweep
from ..engine.ufuncs import Method, register_bfloat16
from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..formulas.text import describe
from ..functions import arguments, dtypes, subclasses
from ..functions.mask import Mask, PartialMask
from ..functions.specification import BACKWARD, DERIVATIVE, VALUE, VALUE_AND_DERIVATIVE, Block, Operation
from . import registry

Methods = dict[str, Method]  # by the name of the operation


def call(
    block: Block,
    operation: Operation,
    methods: Methods,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...] | None = None,
) -> Any:
    """Call a operation without a mask: compiled over whole arrays if they are that simple, else its ufunc."""
    function = block.named(operation)
    names = names or operation.inputs
    if served := registry.backend(*arrays, *values):
        return served.call(block, operation, arrays, out, values, names)
    register_bfloat16()
    method = methods[operation.name]
    operands = [arguments.operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    foreign = next((array for array in (*operands, *values) if arguments.is_foreign(array)), None)
    if foreign is not None:
        return _call_foreign(function, block, method.ufunc, arrays, foreign, out, values, names)
    dtype = arguments.holding(arguments.resolve(block, operands), values)
    parameters = arguments.parameters(function, block, values, dtype)
    shape = arguments.broadcast(function, (*names, *block.parameters), (*operands, *parameters))
    if out is not None:
        arguments.require_out(function, operation.outputs, out, shape, dtype)
        named = zip((*names, *block.parameters), (*operands, *parameters), strict=True)
        subclasses.require_mask_in_out(function, dict(named), out)
    if any(isinstance(array, np.ndarray) for array in operands):
        operands = [dtypes.cast(np.asarray(a), dtype) if type(a) in (int, float) else a for a in operands]
    method.prepare(dtype)
    given = (None,) * len(operation.outputs) if out is None else out if isinstance(out, tuple) else (out,)
    simple, *others = ([dtypes.canonical(a, dtype) for a in arrays] for arrays in (operands, parameters, given))
    result = method.compiled(*simple, *others[0], *others[1])
    if result is NotImplemented:
        result = method.call_with_casts(dtype, simple, (*others[0], *others[1]))
    if result is NotImplemented:
        inputs = subclasses.as_given((*operands, *parameters), (*arrays, *values))
        with raising(), np.errstate(all="ignore"):  # NumPy casts operands before the loop, and warns of signalling NaNs
            result = method.ufunc(*inputs, **({} if out is None else {"out": out}))
        result = subclasses.with_masks_of_their_own(result)
    elif out is not None:  # not a view of it
        made = result if isinstance(result, tuple) else (result,)
        result = tuple(array if own is None else own for own, array in zip(given, made, strict=True))
        result = result[0] if len(result) == 1 else result
    return result


def _call_foreign(
    function: str,
    block: Block,
    ufunc: Any,
    arrays: tuple[Any, ...],
    foreign: Any,
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...],
) -> Any:
    """Hand the ufunc to the library of an array, which knows what to do with it."""
    kind = arguments.full_name(type(foreign))
    arguments.refuse_out(function, out, (foreign,))
    arrays, values, names = block.regrouped(arrays, values, names)
    operands = [arguments.operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    try:
        parameters: tuple[Any, ...] = ()
        if values:
            dtype = arguments.holding(arguments.resolve(block, operands), values)
            parameters = arguments.parameters(function, block, values, dtype)
        with raising(), np.errstate(all="ignore"):
            result = ufunc(*operands, *parameters)
    except TypeError as error:
        raise TypeError(f"{function}: {kind} refuses it ({error}); convert to NumPy first") from error
    return result


def gated(block: Block, operation: Operation, methods: Methods, arrays: tuple[Any, ...], gate: Any, out: Any) -> Any:
    """Call a operation of a function of two arrays, which are equals: their dtypes promote, their shapes broadcast."""
    if served := registry.backend(*arrays, gate):
        return served.call(block, operation, arrays, out, (gate,), operation.inputs)
    function = block.named(operation)
    (name,) = block.parameters
    given = (*arrays, gate)
    operands = [arguments.operand(function, n, a) for n, a in zip(operation.inputs, arrays, strict=True)]
    gate = arguments.operand(function, name, gate)
    if not any(arguments.is_foreign(array) for array in (*operands, gate)):
        dtype = arguments.resolve(block, [*operands, gate])
        numbers = [np.asanyarray(array) for array in (*operands, gate)]
        numbers = [a if a.dtype == dtype else dtypes.cast(a, dtype) for a in numbers]
        *operands, gate = subclasses.as_given(numbers, given)
    return call(block, operation, methods, tuple(operands), out, (gate,))


def gated_backward(
    block: Block, operation: Operation, methods: Methods, arrays: tuple[Any, ...], gate: Any, out: Any
) -> Any:
    """Compute both gradients; where an array was broadcast, its gradient is summed to its shape.

    The sum is NumPy's over an array in C order, so it depends neither on threads nor on how the arrays lay.
    """
    dy, x = arrays
    if registry.backend(dy, x, gate):
        return gated(block, operation, methods, arrays, gate, out)
    shapes = np.shape(x), np.shape(gate)
    if any(arguments.is_foreign(array) for array in (dy, x, gate)):
        raise TypeError(f"{block.name}.backward takes NumPy arrays; convert to NumPy first")
    whole = np.broadcast_shapes(np.shape(dy), *shapes)
    if shapes == (whole, whole):
        return gated(block, operation, methods, arrays, gate, out)
    function = f"{block.name}.backward"
    dx, dgate = (np.asarray(one) for one in gated(block, operation, methods, arrays, gate, None))
    hides = subclasses.hidden(whole, dy, x, gate)
    if out is not None:
        named = zip((*operation.inputs, *block.parameters), (dy, x, gate), strict=True)
        subclasses.require_mask_in_out(function, dict(named), out)
    if hides is not None:
        dx, dgate = (np.where(hides, one.dtype.type(0), one) for one in (dx, dgate))
    sums = sum_gradients(function, operation, (dx, dgate), shapes, out)
    given = (None, None) if out is None else out
    return tuple(
        subclasses.answered(total, own, (dy, x, gate), _all_hidden(hides, shape))
        for total, own, shape in zip(sums, given, shapes, strict=True)
    )


def _all_hidden(hides: Any, shape: tuple[int, ...]) -> Any:
    """Return which sums are of hidden elements alone, as ``numpy.ma`` hides them; one of no elements is a visible 0."""
    if hides is None:
        return None
    if not hides.size:
        return np.zeros(shape, np.bool_)
    return hides.all(axis=arguments.broadcast_axes(hides.shape, shape), keepdims=True).reshape(shape)


def sum_gradients(
    function: str, operation: Operation, gradients: tuple[Any, Any], shapes: tuple[tuple[int, ...], ...], out: Any
) -> tuple[Any, ...]:
    """Sum each gradient to the shape of its array, by the library that the gradients are of."""
    given = (None, None) if out is None else out
    if out is not None and not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(f"{function}: out takes a tuple of two arrays for ({', '.join(operation.outputs)})")
    for array, shape, name in zip(given, shapes, operation.outputs, strict=True):
        if array is not None:
            arguments.require_out(function, (name,), array, shape, gradients[0].dtype, type(gradients[0]))
    return tuple(summed(g, shape, o) for g, shape, o in zip(gradients, shapes, given, strict=True))


def summed(gradient: Any, shape: tuple[int, ...], out: Any = None) -> Any:
    """Sum a gradient over the axes along which its array was broadcast, and round once."""
    axes = arguments.broadcast_axes(gradient.shape, shape)
    if axes:
        wide = np.float64 if gradient.dtype.itemsize < 8 else gradient.dtype
        whole = gradient if gradient.flags.c_contiguous else gradient.copy()
        with np.errstate(all="ignore"):  # inf - inf is NaN
            total = whole.sum(axis=axes, dtype=wide, keepdims=True)
        gradient = dtypes.cast(total.reshape(shape), gradient.dtype)
    if out is None:
        return gradient
    (np.asarray(out) if isinstance(out, np.ndarray) else out)[...] = gradient
    return out


def gated_vjp(activation: Any, x: Any, gate: Any, out: Any) -> tuple[Any, Any]:
    """Compute the value, and keep both arrays for backward."""
    if arguments.may_share_memory(out, x, gate):
        raise ValueError(f"{activation.__name__}.vjp: out would overwrite what the backward call needs")
    return activation(x, gate, out), partial(_backward_of, activation, x, gate)


def _backward_of(activation: Any, x: Any, gate: Any, dy: Any, out: Any = None) -> Any:
    return activation.backward(dy, x, gate, out)


def value_and_derivative(
    block: Block, methods: Methods, arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...]
) -> Any:
    """Call the ufunc with two outputs; xarray takes none such, and gets two ufuncs."""
    if registry.backend(*arrays, *values) or not any(arguments.is_foreign(array) for array in (*arrays, *values)):
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
    if registry.backend(*values):
        raise TypeError(
            f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
            "which is not looked up in arrays on a device or of another library; pass x"
        )
    numbers = arguments.parameters(function, block, values, np.dtype(np.float64))
    holds = bind(block.y_determines, array_primitives.primitives(np.float64))(*numbers)
    if not np.all(np.ma.filled(holds, True) if subclasses.is_masked(holds) else holds):  # a hidden one decides nothing
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
    if served := registry.backend(dy, mask._bits, *values):
        return served.backward_from_mask(block, dy, out, mask, values)
    method = methods["backward_from_mask"]
    if getattr(dy, "shape", None) == mask.shape and type(mask) is Mask:
        dx = method.compiled(dy, mask._bits, *values, out)
        if dx is not NotImplemented:
            return dx
    register_bfloat16()
    upstream, dy = dy, arguments.native(function, "dy", dy)
    dtype = arguments.holding(arguments.resolve(block, [dy]), values)
    try:
        spread = np.broadcast_to(np.asarray(dy), mask.shape)
    except ValueError:
        raise ValueError(f"{function}: dy has shape {dy.shape}, the mask {mask.shape}") from None
    numbers = arguments.parameters(function, block, values, dtype)
    given = subclasses.as_given((dy, *numbers), (upstream, *values))
    operands = dict(zip(("dy", *block.parameters), given, strict=True))
    if isinstance(mask, PartialMask):
        operands["mask"] = mask.to_array()
    own = _given(function, "dx", out, mask.shape, dtype, operands)
    dx = np.empty_like(spread, dtype) if own is None else np.asarray(own)
    _with_bits(method, dtype, spread, numbers, mask._bits, dx, making=False)
    return subclasses.answered(dx, own, operands.values(), subclasses.hidden(mask.shape, *operands.values()))


def with_mask(block: Block, methods: Methods, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    function = f"{block.name}.with_mask"
    _require_source(function, block, "mask")
    if served := registry.backend(x, *values):
        return served.with_mask(block, x, out, values)
    method = methods["with_mask"]
    register_bfloat16()
    source, x = x, arguments.native(function, "x", x)
    dtype = arguments.holding(arguments.resolve(block, [x]), values)
    numbers = arguments.parameters(function, block, values, dtype)
    shape = arguments.broadcast(function, ("x", *block.parameters), (x, *numbers))
    spread = np.broadcast_to(np.asarray(x), shape)
    given = subclasses.as_given((x, *numbers), (source, *values))
    operands = dict(zip(("x", *block.parameters), given, strict=True))
    own = _given(function, "y", out, shape, dtype, operands)
    y = np.empty_like(spread, dtype) if own is None else np.asarray(own)
    bits = np.empty((spread.size + 7) // 8, np.uint8)
    recorded = arguments.recorded(block, values)  # before `out`, which may be one of them, is written
    hides = subclasses.hidden(shape, *operands.values())
    _with_bits(method, dtype, spread, numbers, bits, y, making=True)
    mask = Mask.made(bits, shape, block.full_name, recorded)
    y = subclasses.answered(y, own, operands.values(), hides)
    return y, mask if hides is None else PartialMask.of(mask, hides)


def vjp(block: Block, activation: Any, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Compute the value, and keep for backward a mask, else x; never y, which the user may overwrite."""
    parameters = dict(zip(block.parameters, values, strict=True))
    served = registry.backend(x, *values)
    masks = served.MASKS if served else not arguments.is_foreign(x)
    if masks and "mask" in block.backward_from:
        y, mask = activation.with_mask(x, out, **parameters)
        return y, partial(activation.backward, mask=mask, **mask.parameters)
    if arguments.may_share_memory(out, x):
        raise ValueError(f"{block.name}.vjp: out would overwrite x, which the backward call needs")
    kept = arguments.recorded(block, values)  # copies: the user may update the parameters before the backward call
    return activation(x, out, **parameters), partial(activation.backward, x=x, **kept)


def _given(function: str, output: str, out: Any, shape: Any, dtype: Any, operands: dict[str, Any]) -> Any:
    """Check `out`, and give the array, or None for one to be made."""
    if out is None:
        return None
    arguments.require_out(function, (output,), out, shape, dtype)
    subclasses.require_mask_in_out(function, operands, out)
    return out[0] if isinstance(out, tuple) else out


def _with_bits(
    method: Method, dtype: Any, source: Any, numbers: tuple[Any, ...], bits: Any, target: Any, *, making: bool
) -> None:
    """Run a operation with a mask over arrays of one shape and of any layout, in C order."""
    if not target.dtype.isnative:
        written = np.empty_like(target, dtype)
        _with_bits(method, dtype, source, numbers, bits, written, making=making)
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
    method.prepare(target.dtype)
    operands = [source, *parameters, target, bits] if making else [source, bits, *parameters, target]
    if method.compiled(*operands) is NotImplemented:
        sweep(method.block, method.operation, target.dtype, operands)


def _is_same_view(a: Any, b: Any) -> bool:
    (data, _), (other, _) = a.__array_interface__["data"], b.__array_interface__["data"]
    return bool(data == other and a.strides == b.strides and a.shape == b.shape and a.dtype == b.dtype)


def _signature(function: str, parameters: Any) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
