"""Public methods behind the compiled call: they make a `Call` of what it refused, and a backend computes it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..backends import lookup, registry
from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..formulas.text import describe
from . import arguments, subclasses
from .call import Axis, Call, require_one_shape
from .mask import Mask
from .reduction import Reduction
from .row_options import NO_OPTIONS, RowOptions
from .specification import (
    BACKWARD,
    BACKWARD_FROM_MASK,
    BACKWARD_FROM_Y,
    ROWS,
    ROWS_BACKWARD,
    ROWS_BACKWARD_FROM_X,
    ROWS_BACKWARD_TO_SINK,
    WITH_MASK,
    Elementwise,
    OfSum,
    Operation,
)


def call(function: Any, operation: Operation, operands: dict[str, Any], out: Any, parameters: dict[str, Any]) -> Any:
    """Compute an operation that always takes the same arrays."""
    again = lookup.repeated(function.spec, operation, operands, out, parameters)
    if again is not NotImplemented:
        return again
    return registry.compute(Call(function, operation, operands, parameters, out))


def backward(function: Any, dy: Any, x: Any, out: Any, y: Any, mask: Any, parameters: dict[str, Any]) -> Any:
    """Compute backward from x, y or a mask."""
    spec = function.spec
    if (x is None) + (y is None) + (mask is None) != 2:
        given = [source for source, array in (("x", x), ("y", y), ("mask", mask)) if array is not None]
        raise TypeError(
            f"{spec.named(BACKWARD)} takes dy and one of {', '.join(spec.backward_from)}; "
            f"it got {' and '.join(given) or 'none'}"
        )
    if mask is not None:
        require_agreement(spec, mask, parameters)
        operation, source = BACKWARD_FROM_MASK, mask
    elif y is not None:
        require_source(spec, BACKWARD, "y")
        _require_y_to_determine(spec.named(BACKWARD), spec, parameters)
        dx = function.methods["backward"].compiled(dy, y, *parameters.values(), out)
        if dx is not NotImplemented:
            return dx
        operation, source = BACKWARD_FROM_Y, y
    else:
        operation, source = BACKWARD, x
    return call(function, operation, {"dy": dy, operation.inputs[1]: source}, out, parameters)


def require_source(spec: Elementwise | OfSum, operation: Operation, source: str) -> None:
    """Refuse a source that does not determine the derivative."""
    if source not in spec.backward_from:
        name = spec.named(operation)
        others = " or ".join(f"{name}=" for name in spec.backward_from)
        raise TypeError(f"{name}: {source} does not determine the derivative of {spec.name}; pass {others}")


def _require_y_to_determine(name: str, spec: Elementwise, parameters: dict[str, Any]) -> None:
    if spec.y_determines is None:
        return
    if any(registry.is_other(value) for value in parameters.values()):
        raise TypeError(
            f"{name}: y determines the derivative only where {describe(spec.y_determines)}, "
            "which is not looked up in arrays on a device or of another library; pass x"
        )
    kind = np.dtype(np.float64)
    numbers = [arguments.fitting(name, key, arguments.operand(name, key, v), kind) for key, v in parameters.items()]
    holds = bind(spec.y_determines, array_primitives.primitives(np.float64))(*numbers)
    if not np.all(np.ma.filled(holds, True) if subclasses.is_masked(holds) else holds):  # a hidden one decides nothing
        settings = ", ".join(f"{key}={value}" for key, value in parameters.items())
        others = " or ".join(f"{source}=" for source in spec.backward_from if source != "y")
        raise ValueError(
            f"{name}: y determines the derivative only where {describe(spec.y_determines)}, "
            f"and this call has {settings}; pass {others}"
        )


def require_agreement(spec: Elementwise | OfSum, mask: Any, parameters: dict[str, Any]) -> None:
    """Refuse what is no mask, or the mask of another function or of other parameters."""
    if not isinstance(mask, Mask):
        name = spec.named(BACKWARD)
        raise TypeError(f"{name}: mask is a {type(mask).__name__}; it takes what {spec.name}.with_mask returned")
    if not mask.agrees(spec.masks_of, parameters):
        require_source(spec, BACKWARD, "mask")
        raise ValueError(
            f"{spec.named(BACKWARD)}: this call is {_signature(spec.masks_of, parameters)}, "
            f"the mask was made by {_signature(mask.function, mask.parameters)}"
        )


def _signature(function: str, parameters: Any) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"


def with_mask(function: Any, x: Any, out: Any, parameters: dict[str, Any]) -> tuple[Any, Mask]:
    """Compute the value and the mask."""
    require_source(function.spec, WITH_MASK, "mask")
    both: tuple[Any, Mask] = call(function, WITH_MASK, {"x": x}, out, parameters)
    return both


def vjp(function: Any, x: Any, out: Any, parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Compute the value, and keep for backward a mask, else x; never y, which the user may overwrite."""
    if "mask" in function.spec.backward_from and "mask" in registry.serving(x, *parameters.values()).capabilities:
        y, mask = function.with_mask(x, out, **parameters)
        return y, partial(function.backward, mask=mask, **mask.parameters)
    _require_apart(function, out, {"x": x})
    kept = registry.snapshot(parameters)  # copies: the user may update the parameters before the backward call
    return function(x, out, **parameters), partial(function.backward, x=x, **kept)


def gated_vjp(function: Any, x: Any, gate: Any, out: Any, parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Compute the value, and keep both arrays for backward."""
    _require_apart(function, out, {"x": x, function.spec.gate: gate})
    kept = registry.snapshot(parameters)
    return function(x, gate, out, **parameters), partial(_backward_to_both, function, x, gate, kept)


def _backward_to_both(function: Any, x: Any, gate: Any, parameters: dict[str, Any], dy: Any, out: Any = None) -> Any:
    return function.backward(dy, x, gate, out, **parameters)


def _require_apart(function: Any, out: Any, arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if registry.may_share_memory(out, array):
            raise ValueError(f"{function.__name__}.vjp: out would overwrite {name}, which the backward call needs")


def rows(function: Any, x: Any, out: Any, axis: Axis, options: RowOptions = NO_OPTIONS) -> Any:
    """Compute the value along one or several axes."""
    y = _directly(function, "value", (x,), out, axis, options)
    if y is not NotImplemented:
        return y
    return registry.compute(Call(function, ROWS, {"x": x}, {}, out, axis, _asked(options)))


def _directly(function: Any, operation: str, arrays: tuple[Any, ...], out: Any, axis: Axis, options: RowOptions) -> Any:
    """Make a call with options by the compiled call, where nothing has to be prepared; else return NotImplemented."""
    if options.sink is not None or axis != -1 or options.are_default:
        return NotImplemented
    where, scale, causal, _ = options
    return function.methods[f"{operation}_with_options"].call_directly(arrays, out, where, scale, causal)


def _asked(options: RowOptions) -> RowOptions | None:
    return None if options.are_default else options


def rows_backward(
    function: Any, dy: Any, x: Any, out: Any, y: Any, axis: Axis, options: RowOptions = NO_OPTIONS
) -> Any:
    """Compute dx from dy and y, or from dy and x, of which y is computed first; with a sink, dsink from x, too."""
    name = function.spec.named(ROWS_BACKWARD)
    if (x is None) == (y is None):
        raise TypeError(f"{name} takes dy and one of x, y; it got {'both' if x is not None else 'neither'}")
    if options.sink is not None:
        if x is None:
            raise TypeError(
                f"{name}: y does not hold what sink has of a row's sum; pass x, which gives dx and dsink, or leave out "
                "sink, since y itself gives dx"
            )
        operands = {"dy": dy, "x": x}
        return registry.compute(Call(function, ROWS_BACKWARD_TO_SINK, operands, {}, out, axis, options))
    asked = _asked(options)
    if y is not None:
        dx = _directly(function, "backward", (dy, y), out, axis, options)
        if dx is not NotImplemented:
            return dx
    if y is None:
        given = {"dy": dy, "x": x}  # checked here, as y is what a backend would name
        for key, value in given.items():
            given[key] = value if registry.is_other(value) else arguments.operand(name, key, value)
        shaped = all(isinstance(getattr(a, "shape", ()), tuple) for a in given.values())  # an expression has none
        if shaped and not any(hasattr(a, "dims") for a in given.values()):  # with names they have no order
            require_one_shape(name, given)
        y = function(x, axis=axis, **({} if asked is None else asked._asdict()))
    return registry.compute(Call(function, ROWS_BACKWARD, {"dy": dy, "y": y}, {}, out, axis, asked))


def rows_vjp(function: Any, x: Any, out: Any, axis: Axis, options: RowOptions = NO_OPTIONS) -> tuple[Any, Any]:
    """Compute the value, and keep x for backward."""
    if options.are_default:
        _require_apart(function, out, {"x": x})
        return function(x, out, axis=axis), partial(function.backward, x=x, axis=axis)
    _require_apart(function, out, {"x": x, "where": options.where})
    given = options._asdict()
    y = function(x, out, axis=axis, **given)
    if options.sink is not None:
        given |= registry.snapshot({"sink": options.sink})  # a copy: the user may update it before the backward call
    return y, partial(function.backward, x=x, axis=axis, **given)


def reduction(function: Any, x: Any, out: Any, axis: Axis, where: Any, keepdims: Any) -> Any:
    """Compute one number a row."""
    return registry.compute(Call(function, ROWS, {"x": x}, {}, out, axis, Reduction(where, keepdims)))


def reduction_backward(function: Any, dy: Any, x: Any, out: Any, axis: Axis, where: Any, keepdims: Any) -> Any:
    """Compute dx from dy, which has a number for each row, and x."""
    operands = {"dy": dy, "x": x}
    return registry.compute(Call(function, ROWS_BACKWARD_FROM_X, operands, {}, out, axis, Reduction(where, keepdims)))


def reduction_vjp(function: Any, x: Any, out: Any, axis: Axis, where: Any, keepdims: Any) -> tuple[Any, Any]:
    """Compute one number a row, and keep x for backward."""
    _require_apart(function, out, {"x": x, "where": where})
    given = {"axis": axis, "where": where, "keepdims": keepdims}
    return function(x, out, **given), partial(function.backward, x=x, **given)
