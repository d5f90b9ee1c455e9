"""Calls of PyTorch, JAX, TensorFlow and ONNX Runtime, in each documented way that may be its fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from ...catalogue import ROWWISE
from ..libraries import JAX, TENSORFLOW, TORCH, Offer, from_torch, to_torch
from .case import DEFAULT_FORMS, Call, Case, threads


@cache
def _torch() -> Any:
    import torch

    torch.set_num_threads(threads())
    torch.set_num_interop_threads(1)
    return torch


@cache
def _inference_mode() -> Any:
    """Enter it for the life of this process: the mode ends when its object does."""
    mode = _torch().inference_mode()
    mode.__enter__()
    return mode


def _family(
    case: Case,
    table: dict[str, Offer],
    root: Any,
    operators: Any,
    arrays: tuple[Any, Any, Callable[[Any], Any]],
    texts: tuple[str, str],
    **more: Any,
) -> Iterator[Call]:
    """Call what a library has of the family, default calls alone; `arrays` are dy, x and what makes ones like x."""
    offer = table.get(case.function)
    if offer is None or case.form not in DEFAULT_FORMS:
        return
    function, (dy, x, ones_like) = offer.function(root), arrays
    if case.operation == "value":
        yield Call(texts[0], function, (x,), **more)
    elif offer.gradient is not None:
        dy, y = ones_like(x) if case.operation == "derivative" else dy, function(x)
        yield Call(texts[1], partial(offer.gradient, operators), (dy, x, y), y=y, **more)


def in_torch(case: Case) -> Iterator[Call]:
    """Yield PyTorch's calls, without autograd."""
    torch = _torch()
    _inference_mode()
    aten, functional = torch.ops.aten, torch.nn.functional
    dy, x, slope = to_torch(case.dy), to_torch(case.x), float(case.slope)
    if case.function not in ("relu", "leaky_relu"):
        texts = "torch's function", "aten's backward operator"
        yield from _family(case, TORCH, torch, aten, (dy, x, torch.ones_like), texts, to_numpy=from_torch)
        return
    if case.form == "in_place":
        out = x if case.out is case.x else dy
    else:
        out = None if case.out is None else torch.empty_like(x)
    call = partial(Call, to_numpy=from_torch)
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


def in_torch_autograd(case: Case) -> Iterator[Call]:
    """Yield the backward pass of PyTorch's autograd."""
    torch = _torch()
    if case.operation == "value" or case.out is not None or case.function not in TORCH:
        return
    x = to_torch(case.x).requires_grad_()
    y = TORCH[case.function].function(torch)(x)
    dy = torch.ones_like(x) if case.operation == "derivative" else to_torch(case.dy)
    yield Call(
        "torch.autograd.grad(y, x, dy)",
        torch.autograd.grad,
        (y, x, dy),
        {"retain_graph": True},
        to_numpy=lambda grads: from_torch(grads[0]),
    )


@cache
def _jax(dtype: str) -> Any:
    import jax

    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    return jax


def in_jax(case: Case) -> Iterator[Call]:
    """Yield JAX's compiled calls."""
    jax = _jax(case.x.dtype.name)
    jnp = jax.numpy
    if case.out is not None or case.function not in JAX:
        return
    value = JAX[case.function].function(jax.nn)
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


def in_tensorflow(case: Case) -> Iterator[Call]:
    """Yield TensorFlow's eager calls; a slice is a copy there."""
    tf = _tensorflow()
    if case.function not in TENSORFLOW or case.form not in DEFAULT_FORMS:
        return
    x, dy, ops = tf.constant(case.x), tf.constant(case.dy), tf.raw_ops
    raw = {"relu": (ops.Relu, {}), "leaky_relu": (ops.LeakyRelu, TENSORFLOW["leaky_relu"].keywords)}
    if case.operation == "value" and case.function in raw:
        operator, keywords = raw[case.function]
        yield Call(f"tf.raw_ops.{operator.__name__}", operator, (), {"features": x, **keywords})
    elif case.operation == "derivative" and case.function == "relu":
        yield Call("tf.cast(x > 0, x.dtype)", lambda x: tf.cast(x > 0, x.dtype), (x,))
    for call in _family(case, TENSORFLOW, tf, ops, (dy, x, tf.ones_like), ("tf's function", "tf.raw_ops' gradient")):
        yield call
        if case.function in ROWWISE and case.operation == "backward":  # several operators, which a graph joins
            yield replace(call, text=f"tf.function of {call.text}", function=tf.function(call.function))


def in_tensorflow_autograd(case: Case) -> Iterator[Call]:
    """Yield the backward pass of TensorFlow's tape."""
    tf = _tensorflow()
    if case.operation == "value" or case.out is not None or case.function not in ("relu", "leaky_relu"):
        return
    x = tf.constant(case.x)
    dy = tf.ones_like(x) if case.operation == "derivative" else tf.constant(case.dy)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = TENSORFLOW[case.function].function(tf)(x)
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


def in_onnx(case: Case) -> Iterator[Call]:
    """Yield the ways of running a session of ONNX Runtime."""
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
