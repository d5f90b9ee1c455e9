"""Calls of the recipe that this library grew from: NumPy, Numba, crysx_nn and CuPy."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from .case import Call, Case

# The recipe's own options: fast maths leaves NaN and infinities undefined. Our code never uses it.
NUMBA_OPTIONS: dict[str, Any] = {"cache": False, "fastmath": True}
NUMPY = {  # whoever has the derivative alone multiplies by it
    ("relu", "value"): "np.maximum(0., x)",
    ("relu", "derivative"): "np.greater(x, 0.).astype(np.float32)",
    ("relu", "backward"): "dy * np.greater(x, 0.).astype(np.float32)",
    ("leaky_relu", "value"): "np.where(x > 0, x, slope * x)",
    ("leaky_relu", "derivative"): "np.where(x > 0, np.float32(1), slope)",
    ("leaky_relu", "backward"): "dy * np.where(x > 0, np.float32(1), slope)",
}

_S, _T = "1 / (1 + expf(-(float)x))", "1 / (1 + expf((float)x))"  # sigmoid of x, and of -x
CUPY = {  # what the recipe has not
    ("silu", "value"): "x * special.expit(x)",
    ("silu", "backward"): "dy * special.expit(x) * (1 + x * special.expit(-x))",
    ("gelu", "value"): "x * special.ndtr(x)",
    ("gelu", "backward"): "dy * (special.ndtr(x) + x * cp.exp(-0.5 * x * x) * 0.3989422804014327)",
    ("softmax", "value"): "special.softmax(x, axis=-1)",
    ("softmax", "backward"): "y * (dy - (dy * y).sum(-1, keepdims=True))",
}
KERNELS = {  # in CUDA C++; smooth ones in float32, as one writes them
    ("relu", "value"): "x < 0 ? (T)0 : x",
    ("relu", "derivative"): "x > 0 ? (T)1 : (T)0",
    ("relu", "backward"): "x > 0 ? dy : (T)0",
    ("silu", "value"): f"(float)x * ({_S})",
    ("silu", "backward"): f"(float)dy * ({_S}) * (1 + (float)x * ({_T}))",
    ("gelu", "value"): "(float)x * normcdff(x)",
    ("gelu", "backward"): "(float)dy * (normcdff(x) + (float)x * expf(-0.5f * (float)x * (float)x) * 0.39894228f)",
}


@cache
def _written(text: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Return an expression as a function, and the names of its arguments, which are those of a case."""
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    names = tuple(name for name in ("dy", "x", "y", "out", "slope") if name in used)
    module = {"np": np}
    for name, imported in (("cp", "cupy"), ("special", "cupyx.scipy.special")):
        if name in used:
            module[name] = import_module(imported)
    return eval(f"lambda {', '.join(names)}: {text}", module), names


@cache
def _compiled(text: str) -> Callable[..., Any]:
    from numba import njit

    compiled: Callable[..., Any] = njit(**NUMBA_OPTIONS)(_written(text)[0])
    return compiled


def _call(case: Case, text: str, numba: bool = False) -> Call:
    """Return the call of an expression, by NumPy or compiled by Numba."""
    function, names = _written(text)
    arguments = tuple(getattr(case, name) for name in names)
    if numba:
        return Call(f"@njit(fastmath=True): {text}", _compiled(text), arguments)
    return Call(text, function, arguments)


def in_numpy(case: Case) -> Iterator[Call]:
    """Yield the recipe in NumPy."""
    if case.out is None:
        if text := NUMPY.get((case.function, case.gradient)):
            yield _call(case, text)
    elif case.function == "relu":
        match case.gradient:
            case "value":
                yield Call("np.maximum(0., x, out=out)", np.maximum, (0.0, case.x), case.into)
            case "derivative":
                yield Call("np.greater(x, 0., out=out)", np.greater, (case.x, 0.0), case.into)
            case "backward" if case.out is case.dy:
                yield _call(case, "np.multiply(dy, np.greater(x, 0.), out=dy)")
            case "backward":
                yield _call(case, "np.multiply(dy, np.greater(x, 0., out=out), out=out)")


def in_numpy_with_zeros(case: Case) -> Iterator[Call]:
    """Yield the recipe in NumPy without broadcasting."""
    if case.function == "relu" and case.operation == "value" and case.out is None:
        yield _call(case, "np.maximum(np.zeros(x.shape, np.float32), x)")


def in_numba(case: Case) -> Iterator[Call]:
    """Yield the recipe in Numba."""
    text = NUMPY.get((case.function, case.gradient))
    if text and case.out is None and case.x.dtype.char in "fd":
        yield _call(case, text, numba=True)


def as_a_product(case: Case) -> Iterator[Call]:
    """Yield the product with a comparison, in Numba."""
    if case.function == "relu" and case.operation == "value" and case.out is None and case.x.dtype.char in "fd":
        yield _call(case, "x * (x > 0)", numba=True)


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
    """Yield the recipe in CuPy, or an expression of its functions."""
    if case.out is None and (text := CUPY.get((case.function, case.operation))):
        yield _call(case, text)
    elif case.function == "relu" and case.out is None and case.gradient != "step":  # its parts are measured together
        with_zeros = {"value": "cp.maximum(cp.zeros(x.shape, x.dtype), x)"}
        yield _call(case, with_zeros.get(case.gradient, NUMPY["relu", case.gradient].replace("np.", "cp.")))


def in_cupy_maximum(case: Case) -> Iterator[Call]:
    """Yield CuPy's maximum."""
    if case.function == "relu" and case.operation == "value":
        yield Call("cp.maximum(x, 0)", import_module("cupy").maximum, (case.x, 0), case.into)


def in_cupy_kernel(case: Case) -> Iterator[Call]:
    """Yield a kernel of CuPy's with one pass."""
    text = KERNELS.get((case.function, case.gradient))
    if text is None or case.x.dtype.char not in ("efd" if case.function == "relu" else "ef"):
        return
    arrays = {"x": case.x, **({"dy": case.dy} if case.gradient == "backward" else {})}
    inputs = ", ".join(f"T {name}" for name in arrays)
    kernel = import_module("cupy").ElementwiseKernel(inputs, "T r", f"r = {text}", f"{case.function}_of_a_baseline")
    out = () if case.out is None else (case.out,)
    yield Call(f"ElementwiseKernel of {text}", kernel, (*arrays.values(), *out))
