"""Calls of the recipe that this library grew from: NumPy, Numba, crysx_nn and CuPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from .case import Call, Case

# The recipe's own options: fast maths leaves NaN and infinities undefined. Our code never uses it.
NUMBA_OPTIONS: dict[str, Any] = {"cache": False, "fastmath": True}


def recipe_value(x: Any) -> Any:
    """Give the recipe's ReLU."""
    return np.maximum(0.0, x)


def recipe_derivative(x: Any) -> Any:
    """Give the recipe's derivative: float32 whatever x is."""
    return np.greater(x, 0.0).astype(np.float32)


def recipe_backward(dy: Any, x: Any) -> Any:
    """Multiply by the recipe's derivative, as whoever has only that must."""
    return dy * np.greater(x, 0.0).astype(np.float32)


def _zeros_value(x: Any) -> Any:
    return np.maximum(np.zeros(x.shape, np.float32), x)


def _product_value(x: Any) -> Any:
    return x * (x > 0)


def _leaky_value(x: Any, slope: Any) -> Any:
    return np.where(x > 0, x, slope * x)


def _leaky_derivative(x: Any, slope: Any) -> Any:
    return np.where(x > 0, np.float32(1), slope)


def _leaky_backward(dy: Any, x: Any, slope: Any) -> Any:
    return dy * np.where(x > 0, np.float32(1), slope)


def _backward_into(dy: Any, x: Any, out: Any) -> Any:
    return np.multiply(dy, np.greater(x, 0.0, out=out), out=out)


def _backward_in_place(dy: Any, x: Any) -> Any:
    return np.multiply(dy, np.greater(x, 0.0), out=dy)


def in_numpy(case: Case) -> Iterator[Call]:
    """Yield the recipe in NumPy."""
    dy, x, out, slope = case.dy, case.x, case.out, case.slope
    match case.function, case.gradient, out is None:
        case "relu", "value", True:
            yield Call("np.maximum(0., x)", recipe_value, (x,))
        case "relu", "value", False:
            yield Call("np.maximum(0., x, out=out)", np.maximum, (0.0, x), case.into)
        case "relu", "derivative", True:
            yield Call("np.greater(x, 0.).astype(np.float32)", recipe_derivative, (x,))
        case "relu", "derivative", False:
            yield Call("np.greater(x, 0., out=out)", np.greater, (x, 0.0), case.into)
        case "relu", "backward", True:
            yield Call("dy * np.greater(x, 0.).astype(np.float32)", recipe_backward, (dy, x))
        case "relu", "backward", False if out is dy:
            yield Call("np.multiply(dy, np.greater(x, 0.), out=dy)", _backward_in_place, (dy, x))
        case "relu", "backward", False:
            yield Call("np.multiply(dy, np.greater(x, 0., out=out), out=out)", _backward_into, (dy, x, out))
        case "leaky_relu", "value", True:
            yield Call("np.where(x > 0, x, slope * x)", _leaky_value, (x, slope))
        case "leaky_relu", "derivative", True:
            yield Call("np.where(x > 0, np.float32(1), slope)", _leaky_derivative, (x, slope))
        case "leaky_relu", "backward", True:
            yield Call("dy * np.where(x > 0, np.float32(1), slope)", _leaky_backward, (dy, x, slope))


def in_numpy_with_zeros(case: Case) -> Iterator[Call]:
    """Yield the recipe in NumPy without broadcasting."""
    if case.function == "relu" and case.operation == "value" and case.out is None:
        yield Call("np.maximum(np.zeros(x.shape, np.float32), x)", _zeros_value, (case.x,))


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    compiled: Callable[..., Any] = njit(**NUMBA_OPTIONS)(function)
    return compiled


def in_numba(case: Case) -> Iterator[Call]:
    """Yield the recipe in Numba."""
    if case.out is None and case.x.dtype.char in "fd":
        for call in in_numpy(case):
            yield Call(f"@njit(fastmath=True): {call.text}", _compiled(call.function), call.arguments)


def as_a_product(case: Case) -> Iterator[Call]:
    """Yield the product with a comparison, in Numba."""
    if case.function == "relu" and case.operation == "value" and case.out is None and case.x.dtype.char in "fd":
        yield Call("@njit(fastmath=True): x * (x > 0)", _compiled(_product_value), (case.x,))


def in_crysx_nn(case: Case) -> Iterator[Call]:
    """Yield the calls of crysx_nn."""
    from crysx_nn import activation

    if case.function == "relu" and case.out is None and case.x.dtype.char in "fd":
        match case.operation:
            case "value":
                yield Call("activation.ReLU(x)", activation.ReLU, (case.x,))
            case "derivative":
                yield Call("activation.ReLU_grad(x)", activation.ReLU_grad, (case.x,))


def in_cupy(case: Case) -> Iterator[Call]:
    """Yield the recipe in CuPy."""
    cupy, dy, x = import_module("cupy"), case.dy, case.x

    def derivative() -> Any:
        return cupy.greater(x, 0.0).astype(cupy.float32)

    if case.function != "relu" or case.out is not None:
        return
    match case.gradient:
        case "value":
            text = "cp.maximum(cp.zeros(x.shape, x.dtype), x)"
            yield Call(text, lambda: cupy.maximum(cupy.zeros(x.shape, x.dtype), x), ())
        case "derivative":
            yield Call("cp.greater(x, 0.).astype(cp.float32)", derivative, ())
        case "backward":
            yield Call("dy * cp.greater(x, 0.).astype(cp.float32)", lambda: dy * derivative(), ())


def in_cupy_maximum(case: Case) -> Iterator[Call]:
    """Yield CuPy's maximum."""
    if case.function == "relu" and case.operation == "value":
        yield Call("cp.maximum(x, 0)", import_module("cupy").maximum, (case.x, 0), case.into)


def in_cupy_kernel(case: Case) -> Iterator[Call]:
    """Yield a kernel of CuPy's with one pass."""
    if case.function != "relu" or case.x.dtype.char not in "efd":
        return
    text = {"value": "x < 0 ? (T)0 : x", "derivative": "x > 0 ? (T)1 : (T)0", "backward": "x > 0 ? dy : (T)0"}
    arrays = {"x": case.x, **({"dy": case.dy} if case.gradient == "backward" else {})}
    inputs = ", ".join(f"T {name}" for name in arrays)
    kernel = import_module("cupy").ElementwiseKernel(inputs, "T r", f"r = {text[case.gradient]}", "relu_of_a_baseline")
    out = () if case.out is None else (case.out,)
    yield Call(f"ElementwiseKernel of {text[case.gradient]}", kernel, (*arrays.values(), *out))
