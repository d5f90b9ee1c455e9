"""Who is measured against, and how each is called: in every documented way that may be its fastest.

A rival turns a `Case` into calls that do the same work; the runner measures the quickest of them. What a
rival does not offer (JAX has no ``out=``) is no call and no row.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import CATALOGUE

# Imports, and an expression on a million elements.
OUR_FIRST = ("from rectifier import relu; import numpy as np", "relu(np.ones(1_000_000, 'f'))")
# The recipe's own options: fast maths leaves NaN and infinities undefined. Our code never uses it.
NUMBA_OPTIONS: dict[str, Any] = {"cache": False, "fastmath": True}
# One Relu, as onnx.helper makes it.
_ONNX_RELU = (
    b'\x08\n:/\n\x0c\n\x01x\x12\x01r"\x04Relu\x12\x01gZ\r\n\x01x\x12\x08\n\x06\x08\x01\x12\x02\n\x00b\r\n\x01r'
    b"\x12\x08\n\x06\x08\x01\x12\x02\n\x00B\x04\n\x00\x10\x11"
)


def threads() -> int:
    """Say how many threads ours and each rival have: what the environment of a pair's process says."""
    return int(os.environ.get("RECTIFIER_THREADS") or 1)


@dataclass(frozen=True)
class Case:
    """The work of one point.

    Attributes
    ----------
    function, operation, form : str
        A name of the catalogue; value, derivative, backward or backward_from_mask; one of `runner.FORMS`.
    dy, x : ndarray
        The gradient from above, and the input; on a GPU, of CuPy.
    out : ndarray or None
        Where the result has to go: x or dy itself in place, None for an array of its own.
    slope : numpy scalar
        Of `leaky_relu`, in the dtype of x.
    """

    function: str
    operation: str
    form: str
    dy: Any
    x: Any
    out: Any
    slope: Any

    @property
    def gradient(self) -> str:
        """The operation, whatever it is computed from: value, derivative or backward."""
        return self.operation.removesuffix("_from_mask")

    @cached_property
    def y(self) -> Any:
        """The value of x."""
        return CATALOGUE[self.function](self.x)

    @property
    def into(self) -> dict[str, Any]:
        """The keyword argument ``out``, if there is one."""
        return {} if self.out is None else {"out": self.out}


@dataclass(frozen=True)
class Call:
    """``function(*arguments, **keywords)``, and what follows it: a result that is awaited."""

    text: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    to_numpy: Callable[[Any], Any] = lambda array: array.get() if hasattr(array, "get") else np.asarray(array)

    def statement(self) -> tuple[str, dict[str, Any]]:
        """Write it out for `timeit`, with the names that it uses."""
        names = {f"a{k}": argument for k, argument in enumerate(self.arguments)}
        keywords = [f"{name}={name}" for name in self.keywords]
        return f"f({', '.join([*names, *keywords])}){self.suffix}", {"f": self.function, **names, **self.keywords}

    def result(self) -> Any:
        """Compute it once, for NumPy."""
        return self.to_numpy(self.function(*self.arguments, **self.keywords))


@dataclass(frozen=True)
class Rival:
    """Somebody who offers the same.

    Attributes
    ----------
    name, title : str
        On the command line, and in a table.
    packages : tuple of str
        What must be installed; the ``__version__`` of the first is reported.
    calls : callable
        From a case to the ways in which this rival does it; none where it does not.
    first : tuple of str
        Imports, and an expression: a program that computes one result, which is what a short script pays for.
    note : str
        What a reader of its figures should know.
    quick : bool
        Whether the quick run measures it.
    gpu : bool
        Whether it runs on a GPU of NVIDIA's, as ours does then, by CuPy.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    calls: Callable[[Case], Iterator[Call]]
    first: tuple[str, str] | None = None
    note: str = ""
    quick: bool = True
    gpu: bool = False

    def missing(self) -> str | None:
        """Say why it cannot be measured here."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if absent:
            return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
        return "no GPU of NVIDIA's here" if self.gpu and not Path("/dev/nvidiactl").exists() else None


def ours(case: Case) -> Call:
    """Give this library's call."""
    f: Any = CATALOGUE[case.function]
    match case.operation:
        case "value":
            return Call("f(x)", f, (case.x,), case.into)
        case "derivative":
            return Call("f.derivative(x)", f.derivative, (case.x,), case.into)
        case "backward":
            return Call("f.backward(dy, x)", f.backward, (case.dy, case.x), case.into)
    return Call("f.backward(dy, mask=mask)", f.backward, (case.dy,), {"mask": f.with_mask(case.x)[1], **case.into})


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


def _in_numpy(case: Case) -> Iterator[Call]:
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


def _in_numpy_with_zeros(case: Case) -> Iterator[Call]:
    if case.function == "relu" and case.operation == "value" and case.out is None:
        yield Call("np.maximum(np.zeros(x.shape, np.float32), x)", _zeros_value, (case.x,))


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    compiled: Callable[..., Any] = njit(**NUMBA_OPTIONS)(function)
    return compiled


def _in_numba(case: Case) -> Iterator[Call]:
    if case.out is None and case.x.dtype.char in "fd":
        for call in _in_numpy(case):
            yield Call(f"@njit(fastmath=True): {call.text}", _compiled(call.function), call.arguments)


def _as_a_product(case: Case) -> Iterator[Call]:
    if case.function == "relu" and case.operation == "value" and case.out is None and case.x.dtype.char in "fd":
        yield Call("@njit(fastmath=True): x * (x > 0)", _compiled(_product_value), (case.x,))


def _in_crysx_nn(case: Case) -> Iterator[Call]:
    from crysx_nn import activation

    if case.function == "relu" and case.out is None and case.x.dtype.char in "fd":
        match case.operation:
            case "value":
                yield Call("activation.ReLU(x)", activation.ReLU, (case.x,))
            case "derivative":
                yield Call("activation.ReLU_grad(x)", activation.ReLU_grad, (case.x,))


@cache
def _torch() -> Any:
    import torch

    torch.set_num_threads(threads())
    torch.set_num_interop_threads(1)
    return torch


def _torch_from(x: Any) -> Any:
    torch = _torch()
    take = torch.from_numpy if isinstance(x, np.ndarray) else torch.from_dlpack
    if x.dtype.name == "bfloat16":  # which NumPy's buffers have no letter for
        return take(x.view(np.uint16)).view(torch.bfloat16)
    return take(x)


def _from_torch(t: Any) -> Any:
    torch = _torch()
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        return t.view(torch.uint16).numpy().view(import_module("ml_dtypes").bfloat16)
    return t.numpy()


@cache
def _inference_mode() -> Any:
    """Enter it for the life of this process: the mode ends when its object does."""
    mode = _torch().inference_mode()
    mode.__enter__()
    return mode


@cache
def _of_torch() -> dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]]:
    """Give what it has of the family: the function, and the operator that autograd calls, of dy, x and y."""
    torch = _torch()
    f, aten = torch.nn.functional, torch.ops.aten
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return {
        "relu6": (f.relu6, lambda dy, x, y: aten.hardtanh_backward(dy, x, 0, 6)),
        "thresholded_relu": (lambda x: f.threshold(x, 1, 0), lambda dy, x, y: aten.threshold_backward(dy, x, 1)),
        "hard_tanh": (f.hardtanh, lambda dy, x, y: aten.hardtanh_backward(dy, x, -1, 1)),
        "hard_sigmoid": (f.hardsigmoid, lambda dy, x, y: aten.hardsigmoid_backward(dy, x)),
        "hard_swish": (f.hardswish, lambda dy, x, y: aten.hardswish_backward(dy, x)),
        "hard_shrink": (f.hardshrink, lambda dy, x, y: aten.hardshrink_backward(dy, x, 0.5)),
        "soft_shrink": (f.softshrink, lambda dy, x, y: aten.softshrink_backward(dy, x, 0.5)),
        "sigmoid": (torch.sigmoid, lambda dy, x, y: aten.sigmoid_backward(dy, y)),
        "log_sigmoid": (f.logsigmoid, None),
        "tanh": (torch.tanh, lambda dy, x, y: aten.tanh_backward(dy, y)),
        "softsign": (f.softsign, None),
        "silu": (f.silu, lambda dy, x, y: aten.silu_backward(dy, x)),
        "gelu": (f.gelu, lambda dy, x, y: aten.gelu_backward(dy, x)),
        "gelu_tanh": (
            partial(f.gelu, approximate="tanh"),
            lambda dy, x, y: aten.gelu_backward(dy, x, approximate="tanh"),
        ),
        "mish": (f.mish, lambda dy, x, y: aten.mish_backward(dy, x)),
        "softplus": (f.softplus, lambda dy, x, y: aten.softplus_backward(dy, x, 1, 20)),
        "elu": (f.elu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, False, x)),
        "selu": (f.selu, lambda dy, x, y: aten.elu_backward(dy, alpha, scale, 1, False, x)),
        "celu": (f.celu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, False, x)),
    }


def _family_in_torch(case: Case) -> Iterator[Call]:
    """Call what PyTorch has of the family, default calls alone."""
    function, backward = _of_torch().get(case.function, (None, None))
    if function is None or case.form not in ("default", "fresh", "unpooled"):
        return
    dy, x = _torch_from(case.dy), _torch_from(case.x)
    if case.operation == "value":
        yield Call("torch's function", function, (x,), to_numpy=_from_torch)
    elif backward is not None:
        dy = _torch().ones_like(x) if case.operation == "derivative" else dy
        yield Call("aten's backward operator", backward, (dy, x, function(x)), to_numpy=_from_torch)


def _in_torch(case: Case) -> Iterator[Call]:
    torch = _torch()
    _inference_mode()
    if case.function not in ("relu", "leaky_relu"):
        yield from _family_in_torch(case)
        return
    aten, functional = torch.ops.aten, torch.nn.functional
    dy, x, slope = _torch_from(case.dy), _torch_from(case.x), float(case.slope)
    if case.form == "in_place":
        out = x if case.out is case.x else dy
    else:
        out = None if case.out is None else torch.empty_like(x)
    call = partial(Call, to_numpy=_from_torch)
    if case.operation == "value":
        offers = {
            ("relu", "default"): (
                ("torch.relu(x)", torch.relu, (x,)),
                ("torch.clamp_min(x, 0)", torch.clamp_min, (x, 0)),
            ),
            ("relu", "out"): (("torch.clamp_min(x, 0, out=out)", torch.clamp_min, (x, 0), {"out": out}),),
            ("relu", "in_place"): (("torch.relu_(x)", torch.relu_, (x,)),),
            ("leaky_relu", "default"): (("F.leaky_relu(x, slope)", functional.leaky_relu, (x, slope)),),
            ("leaky_relu", "out"): (("aten.leaky_relu.out", aten.leaky_relu.out, (x, slope), {"out": out}),),
            ("leaky_relu", "in_place"): (("F.leaky_relu_(x, slope)", functional.leaky_relu_, (x, slope)),),
        }
        form = case.form if case.form in ("out", "in_place") else "default"
        yield from (call(*offer) for offer in offers.get((case.function, form), ()))
        return
    # The operators that autograd calls, without autograd.
    operators = {
        "relu": ("threshold_backward(dy, x, 0)", aten.threshold_backward, (0,)),
        "leaky_relu": ("leaky_relu_backward(dy, x, slope, False)", aten.leaky_relu_backward, (slope, False)),
    }
    if case.function not in operators:
        return
    text, operator, more = operators[case.function]
    if case.operation == "derivative":
        dy, text = torch.ones_like(x), text.replace("dy", "ones")
        if case.function == "relu" and out is None:
            yield call("(x > 0).to(x.dtype)", lambda x: (x > 0).to(x.dtype), (x,))
        elif case.function == "relu":
            yield call("torch.gt(x, 0, out=out)", torch.gt, (x, 0), {"out": out})
    if out is None:
        yield call(f"aten.{text}", operator.default, (dy, x, *more))
    else:
        yield call(f"aten.{text}, into grad_input", operator.grad_input, (dy, x, *more), {"grad_input": out})


def _in_cupy(case: Case) -> Iterator[Call]:
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


def _in_cupy_maximum(case: Case) -> Iterator[Call]:
    if case.function == "relu" and case.operation == "value":
        yield Call("cp.maximum(x, 0)", import_module("cupy").maximum, (case.x, 0), case.into)


def _in_cupy_kernel(case: Case) -> Iterator[Call]:
    if case.function != "relu" or case.x.dtype.char not in "efd":
        return
    text = {"value": "x < 0 ? (T)0 : x", "derivative": "x > 0 ? (T)1 : (T)0", "backward": "x > 0 ? dy : (T)0"}
    arrays = {"x": case.x, **({"dy": case.dy} if case.gradient == "backward" else {})}
    inputs = ", ".join(f"T {name}" for name in arrays)
    kernel = import_module("cupy").ElementwiseKernel(inputs, "T r", f"r = {text[case.gradient]}", "relu_of_a_rival")
    out = () if case.out is None else (case.out,)
    yield Call(f"ElementwiseKernel of {text[case.gradient]}", kernel, (*arrays.values(), *out))


def _in_torch_autograd(case: Case) -> Iterator[Call]:
    torch = _torch()
    value = {
        "relu": torch.relu,
        "leaky_relu": partial(torch.nn.functional.leaky_relu, negative_slope=float(case.slope)),
        **{name: function for name, (function, _) in _of_torch().items()},
    }
    if case.operation == "value" or case.out is not None or case.function not in value:
        return
    x = _torch_from(case.x).requires_grad_()
    y = value[case.function](x)
    dy = torch.ones_like(x) if case.operation == "derivative" else _torch_from(case.dy)
    yield Call(
        "torch.autograd.grad(y, x, dy)",
        torch.autograd.grad,
        (y, x, dy),
        {"retain_graph": True},
        to_numpy=lambda grads: _from_torch(grads[0]),
    )


@cache
def _jax(dtype: str) -> Any:
    import jax

    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    return jax


def _in_jax(case: Case) -> Iterator[Call]:
    jax = _jax(case.x.dtype.name)
    jnp, nn = jax.numpy, jax.nn
    value = {
        "gelu": partial(nn.gelu, approximate=False),
        "gelu_tanh": nn.gelu,
        "softsign": nn.soft_sign,
        "tanh": jnp.tanh,
    }.get(case.function, getattr(nn, case.function, None))
    if case.out is not None or value is None:
        return
    # Whole, and sliced by the compiled function: a slice made outside would be a copy of its own.
    whole = jnp.asarray(case.x.base if case.form == "slice" else case.x)
    columns = case.x.shape[-1]
    dy = jnp.asarray(case.dy)
    call = partial(Call, suffix=".block_until_ready()")
    match case.operation:
        case "value":
            yield call(f"jit(jax.nn.{case.function})(x)", jax.jit(lambda x: value(x[..., :columns])), (whole,))
        case "derivative":
            ones = jnp.ones_like
            yield call("jit of vjp of ones", jax.jit(lambda x: jax.vjp(value, x)[1](ones(x))[0]), (whole,))
            if case.function == "relu":
                yield call("jit((x > 0).astype(x.dtype))", jax.jit(lambda x: (x > 0).astype(x.dtype)), (whole,))
        case _:
            yield call("jit of vjp", jax.jit(lambda dy, x: jax.vjp(value, x)[1](dy)[0]), (dy, whole))
            if case.function == "relu":
                yield call("jit(jnp.where(x > 0, dy, 0))", jax.jit(lambda dy, x: jnp.where(x > 0, dy, 0)), (dy, whole))


@cache
def _tensorflow() -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads())
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _family_in_tensorflow(case: Case) -> Iterator[Call]:
    """Call what TensorFlow has of the family, and its gradients' operators."""
    tf = _tensorflow()
    ops = tf.raw_ops
    function, backward = {
        "relu6": (tf.nn.relu6, lambda dy, x, y: ops.Relu6Grad(gradients=dy, features=x)),
        "sigmoid": (tf.sigmoid, lambda dy, x, y: ops.SigmoidGrad(y=y, dy=dy)),
        "tanh": (tf.tanh, lambda dy, x, y: ops.TanhGrad(y=y, dy=dy)),
        "softplus": (tf.nn.softplus, lambda dy, x, y: ops.SoftplusGrad(gradients=dy, features=x)),
        "softsign": (tf.nn.softsign, lambda dy, x, y: ops.SoftsignGrad(gradients=dy, features=x)),
        "elu": (tf.nn.elu, lambda dy, x, y: ops.EluGrad(gradients=dy, outputs=y)),
        "selu": (tf.nn.selu, lambda dy, x, y: ops.SeluGrad(gradients=dy, outputs=y)),
        "gelu": (partial(tf.nn.gelu, approximate=False), None),
        "gelu_tanh": (partial(tf.nn.gelu, approximate=True), None),
        "silu": (tf.nn.silu, None),
        "log_sigmoid": (tf.math.log_sigmoid, None),
    }.get(case.function, (None, None))
    if function is None or case.form not in ("default", "fresh", "unpooled"):
        return
    x = tf.constant(case.x)
    if case.operation == "value":
        yield Call("tf's function", function, (x,))
    elif backward is not None:
        dy = tf.ones_like(x) if case.operation == "derivative" else tf.constant(case.dy)
        yield Call("tf.raw_ops' gradient", backward, (dy, x, function(x)))


def _in_tensorflow(case: Case) -> Iterator[Call]:
    if case.function not in ("relu", "leaky_relu"):
        yield from _family_in_tensorflow(case)
        return
    tf = _tensorflow()
    value = {
        "relu": (tf.nn.relu, tf.raw_ops.Relu, {}),
        "leaky_relu": (tf.nn.leaky_relu, tf.raw_ops.LeakyRelu, {"alpha": float(case.slope)}),
    }
    gradient = {
        "relu": (tf.raw_ops.ReluGrad, {}),
        "leaky_relu": (tf.raw_ops.LeakyReluGrad, {"alpha": float(case.slope)}),
    }
    if case.out is not None or case.form == "slice" or case.function not in value:
        return  # a slice is a copy there
    x = tf.constant(case.x)
    if case.operation == "value":
        function, operator, keywords = value[case.function]
        yield Call(f"tf.nn.{case.function}(x)", function, (x,), keywords)
        yield Call(f"tf.raw_ops.{operator.__name__}", operator, (), {"features": x, **keywords})
        return
    if case.operation == "derivative" and case.function == "relu":
        yield Call("tf.cast(x > 0, x.dtype)", lambda x: tf.cast(x > 0, x.dtype), (x,))
    dy = tf.ones_like(x) if case.operation == "derivative" else tf.constant(case.dy)
    operator, keywords = gradient[case.function]
    yield Call(f"tf.raw_ops.{operator.__name__}", operator, (), {"gradients": dy, "features": x, **keywords})


def _in_tensorflow_autograd(case: Case) -> Iterator[Call]:
    tf = _tensorflow()
    value = {"relu": tf.nn.relu, "leaky_relu": partial(tf.nn.leaky_relu, alpha=float(case.slope))}
    if case.operation == "value" or case.out is not None or case.function not in value:
        return
    x = tf.constant(case.x)
    dy = tf.ones_like(x) if case.operation == "derivative" else tf.constant(case.dy)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = value[case.function](x)
    yield Call("tape.gradient(y, x, dy)", tape.gradient, (y, x), {"output_gradients": dy})


@cache
def _onnx_session(function: str, operation: str, dtype: str, slope: float) -> Any:
    import onnx
    import onnxruntime
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants = [helper.make_tensor(*value) for value in (("zero", kind, (), [0]), ("one", kind, (), [1]))]
    constants.append(helper.make_tensor("slope", kind, (), [slope]))
    node, positive = helper.make_node, helper.make_node("Greater", ["x", "zero"], ["m"])
    nodes = {
        ("relu", "value"): [node("Relu", ["x"], ["r"])],
        ("leaky_relu", "value"): [node("LeakyRelu", ["x"], ["r"], alpha=slope)],
        ("relu", "derivative"): [positive, node("Cast", ["m"], ["r"], to=kind)],
        ("relu", "backward"): [positive, node("Where", ["m", "dy", "zero"], ["r"])],
        ("leaky_relu", "derivative"): [positive, node("Where", ["m", "one", "slope"], ["r"])],
        ("leaky_relu", "backward"): [
            positive, node("Where", ["m", "one", "slope"], ["d"]), node("Mul", ["dy", "d"], ["r"]),
        ],
    }.get((function, operation))  # fmt: skip
    if nodes is None:
        return None
    inputs = ["x", "dy"] if operation == "backward" else ["x"]
    tensor = partial(helper.make_tensor_value_info, elem_type=kind, shape=[None, None])
    graph = helper.make_graph(nodes, operation, [tensor(name) for name in inputs], [tensor("r")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _in_onnx(case: Case) -> Iterator[Call]:
    if case.form in ("in_place", "slice") or case.x.dtype.char not in "efd":
        return
    session = _onnx_session(case.function, case.gradient, case.x.dtype.name, float(case.slope))
    if session is None:
        return
    from onnxruntime import OrtValue

    arrays = {"x": case.x, "dy": case.dy} if case.gradient == "backward" else {"x": case.x}
    values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    if case.out is None:
        yield Call("session.run(None, {x})", session.run, (None, arrays), to_numpy=lambda results: results[0])
        yield Call(
            "session.run_with_ort_values([r], {x})",
            session.run_with_ort_values,
            (["r"], values),
            to_numpy=lambda results: results[0].numpy(),
        )
    else:
        result = OrtValue.ortvalue_from_shape_and_type(case.x.shape, case.x.dtype.type)
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("r", result)
        yield Call(
            "session.run_with_iobinding", session.run_with_iobinding, (binding,), to_numpy=lambda _: result.numpy()
        )


def _in_numexpr(case: Case) -> Iterator[Call]:
    import numexpr

    numexpr.set_num_threads(threads())
    # An integer in the text takes the dtype of x, a number with a point would be float64.
    text = {
        ("relu", "value"): "where(x > 0, x, 0)",
        ("relu", "derivative"): "where(x > 0, one, 0)",
        ("relu", "backward"): "where(x > 0, dy, 0)",
        ("leaky_relu", "value"): "where(x > 0, x, slope * x)",
        ("leaky_relu", "derivative"): "where(x > 0, one, slope)",
        ("leaky_relu", "backward"): "where(x > 0, dy, slope * dy)",
    }.get((case.function, case.gradient))
    if text is None or case.x.dtype.char not in "fd":
        return
    names = {"x": case.x, "dy": case.dy, "slope": case.slope, "one": case.x.dtype.type(1)}
    names = {name: value for name, value in names.items() if name in text}
    numexpr.validate(text, names, **case.into)
    yield Call(f"re_evaluate of {text}", numexpr.re_evaluate, (names,))
    if case.out is not None:
        yield Call(text, numexpr.evaluate, (text, names), case.into)


def _in_scipy(case: Case) -> Iterator[Call]:
    from scipy import special

    function = {
        "sigmoid": special.expit,
        "log_sigmoid": special.log_expit,
        "tanh": np.tanh,
        "softplus": lambda x: np.logaddexp(0, x),
        "silu": lambda x: x * special.expit(x),
        "gelu": lambda x: x * special.ndtr(x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
        "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
        "softsign": lambda x: x / (1 + np.abs(x)),
    }.get(case.function)
    if function is not None and case.operation == "value" and case.form in ("default", "fresh", "unpooled"):
        yield Call("SciPy's or NumPy's function", function, (case.x,))


def _in_thinc(case: Case) -> Iterator[Call]:
    from thinc.api import NumpyOps

    ops, keywords = NumpyOps(), {"inplace": True} if case.form == "in_place" else {}
    if case.function != "relu" or case.x.dtype.char not in "fd" or case.form == "out":
        return
    if case.gradient == "value":
        yield Call("NumpyOps().relu(X)", ops.relu, (case.x,), keywords)
    elif case.gradient == "backward":
        yield Call("NumpyOps().backprop_relu(dY, Y)", ops.backprop_relu, (case.dy, case.y), keywords)


_FUSED = "its backward pass is one operator of its own; the autograd way is a row of its own"
_ON_GPU = "arrays stay on the device, CUDA events tell the time; written without a GPU at hand, so never run"
_ONE = "np.ones(1_000_000, 'f')"
_IMPORTS = "import numpy as np"
# fmt: off
RIVALS = (
    Rival("numpy", "NumPy recipe", ("numpy",), _in_numpy, (_IMPORTS, f"np.maximum(0., {_ONE})")),
    Rival("numpy-zeros", "NumPy zeros", ("numpy",), _in_numpy_with_zeros, note="the recipe without broadcasting"),
    Rival("numba", "Numba recipe", ("numba",), _in_numba,
          (_IMPORTS + "; import numba", f"numba.njit(fastmath=True)(lambda x: np.maximum(0., x))({_ONE})"),
          "fastmath: NaN and infinities are undefined; its value comes back as float64"),
    Rival("product", "Numba x*(x>0)", ("numba",), _as_a_product, note="crysx_nn's current form; NaN at -inf"),
    Rival("crysx_nn", "crysx_nn", ("crysx_nn",), _in_crysx_nn,
          (_IMPORTS + "; from crysx_nn import activation", f"activation.ReLU({_ONE}.reshape(1000, 1000))")),
    Rival("torch", "PyTorch", ("torch",), _in_torch, ("import torch", "torch.relu(torch.ones(1_000_000))"),
          "inference mode; " + _FUSED),
    Rival("torch-autograd", "PyTorch grad", ("torch",), _in_torch_autograd,
          note="backward pass alone, graph retained", quick=False),
    Rival("torch-cuda", "PyTorch CUDA", ("torch", "cupy"), _in_torch, note=_ON_GPU, gpu=True),
    Rival("tensorflow", "TensorFlow", ("tensorflow",), _in_tensorflow,
          ("import tensorflow as tf", "tf.nn.relu(tf.ones(1_000_000))"), "eager; " + _FUSED),
    Rival("tensorflow-tape", "TF tape", ("tensorflow",), _in_tensorflow_autograd,
          note="backward pass alone", quick=False),
    Rival("jax", "JAX", ("jax",), _in_jax,
          ("import jax", "jax.jit(jax.nn.relu)(jax.numpy.ones(1_000_000)).block_until_ready()")),
    Rival("onnxruntime", "ONNX Runtime", ("onnxruntime", "onnx"), _in_onnx,
          (_IMPORTS + "; import onnxruntime",
           f"onnxruntime.InferenceSession({_ONNX_RELU!r}).run(None, {{'x': {_ONE}}})"),
          "memory of results is reused; no spinning"),
    Rival("numexpr", "numexpr", ("numexpr",), _in_numexpr,
          (_IMPORTS + "; import numexpr", f"numexpr.evaluate('where(x > 0, x, 0)', {{'x': {_ONE}}})")),
    Rival("scipy", "SciPy", ("scipy",), _in_scipy, note="one thread", quick=False),
    Rival("thinc", "Thinc", ("thinc",), _in_thinc,
          (_IMPORTS + "; from thinc.api import NumpyOps", f"NumpyOps().relu({_ONE}.reshape(1000, 1000))"),
          "float32 and float64; backward from y; one thread"),
    Rival("cupy", "CuPy recipe", ("cupy",), _in_cupy, note=_ON_GPU, gpu=True),
    Rival("cupy-maximum", "CuPy maximum", ("cupy",), _in_cupy_maximum, note=_ON_GPU, gpu=True),
    Rival("cupy-kernel", "CuPy kernel", ("cupy",), _in_cupy_kernel, note=_ON_GPU, gpu=True),
)
# fmt: on
