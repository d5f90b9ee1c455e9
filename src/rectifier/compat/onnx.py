"""The activation operators of ONNX, for its reference evaluator: a model runs in NumPy at the speed of this library.

>>> from onnx import parser
>>> from onnx.reference import ReferenceEvaluator
>>> from rectifier.compat.onnx import OPERATORS
>>> model = parser.parse_model('''<ir_version: 10, opset_import: ["": 20]>
... graph (float[N] x) => (float[N] y) { y = Gelu(x) }''')
>>> evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
>>> import numpy as np
>>> evaluator.run(None, {"x": np.array([0, 1], np.float32)})
[array([0.       , 0.8413448], dtype=float32)]

An operator means what it means in the opset that the model imports, with the defaults of that opset: before opset 13,
softmax, log-softmax and hardmax take all axes from `axis` on for one. The formulas, their special values and their
accuracy are those of this library; results have the dtype of the first input.

The evaluator does not pass ``new_ops`` on to the functions that a model defines itself: inline those first, by
``onnx.inliner.inline_local_functions``.

References
----------
ONNX operators, https://onnx.ai/onnx/operators/, up to opset 28, and their changelog for the older ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..catalogue import ALL
from ..functions.missing import named

with named("rectifier.compat.onnx", "onnx", "onnx"):
    from onnx import NodeProto
    from onnx.defs import get_schema, onnx_opset_version
    from onnx.reference.op_run import OpRun

__all__ = ["OPERATORS"]

_SHAPED_AS_NUMPY = 7  # the opset from which on a slope broadcasts
_ONE_AXIS = 13  # the opset from which on a softmax takes one axis


class _Operator(OpRun):  # type: ignore[misc]
    """An operator of the standard, in the version that the opset of the model has."""

    op_domain = ""
    compute: Callable[..., Any]  # of the operator, its inputs and its attributes

    def __init__(self, onnx_node: NodeProto, run_params: dict[str, Any], schema: Any = None) -> None:
        self.opset = run_params["opsets"].get("", onnx_opset_version())
        super().__init__(onnx_node, run_params, schema or get_schema(onnx_node.op_type, self.opset, ""))

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any]:
        return (np.asarray(self.compute(*inputs, **attributes)),)


def _operator(name: str, compute: Callable[..., Any]) -> type[OpRun]:
    """Make an operator of what computes it."""
    return type(name, (_Operator,), {"compute": compute, "__module__": __name__, "__doc__": f"The operator {name}."})


def _elementwise(name: str, function: str, **attributes: str) -> type[OpRun]:
    """Make an operator of a function of the catalogue; `attributes` has the standard's names of its parameters."""

    def compute(self: _Operator, x: Any, **given: Any) -> Any:
        parameters = {parameter: float(given[attribute]) for parameter, attribute in attributes.items()}
        return ALL[function](x, **parameters)

    return _operator(name, compute)


def _rowwise(name: str, function: str) -> type[OpRun]:
    def compute(self: _Operator, x: Any, axis: int) -> Any:
        if self.opset >= _ONE_AXIS:
            return ALL[function](x, axis=axis)
        first = axis + x.ndim if axis < 0 else axis
        if not 0 <= first <= x.ndim:
            raise ValueError(f"{name}: axis is {axis}; the input has {x.ndim} dimensions")
        return ALL[function](x, axis=tuple(range(first, x.ndim)))

    return _operator(name, compute)


def _gelu(self: _Operator, x: Any, approximate: str) -> Any:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"Gelu: approximate is {approximate!r}; it takes 'none' or 'tanh'")
    return ALL["gelu" if approximate == "none" else "gelu_tanh"](x)


def _prelu(self: _Operator, x: Any, slope: Any, **consumed: Any) -> Any:
    if self.opset < _SHAPED_AS_NUMPY and slope.size > 1:  # a slope a channel, which is the second axis
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    if np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise ValueError(f"PRelu: slope has shape {slope.shape}, which does not broadcast to the input's, {x.shape}")
    if x.dtype.kind in "iu":  # in integers, which the function does not keep
        return np.where(x > 0, x, x * slope)
    return ALL["prelu"](x, slope)


def _selu(self: _Operator, x: Any, alpha: Any, gamma: Any, **consumed: Any) -> Any:
    if (alpha, gamma) == _SELU:  # which float32 makes of the constants
        return ALL["selu"](x)
    y = np.asarray(ALL["elu"](x, alpha=float(alpha)))
    return np.multiply(y, y.dtype.type(gamma), out=y)


_SELU = np.float32(1.6732632423543772), np.float32(1.0507009873554805)


def _shrink(self: _Operator, x: Any, bias: float, lambd: float) -> Any:
    if lambd < 0:
        raise ValueError(f"Shrink: lambd is {lambd:g}; it takes a number from 0 on")
    numbers = x.astype(np.float64) if x.dtype.kind in "iu" else x  # integers are shrunk by any number, and cut off
    return np.asarray(ALL["shrink"](numbers, threshold=float(lambd), bias=float(bias))).astype(x.dtype, copy=False)


def _swiglu(self: _Operator, gate: Any, x: Any, alpha: float) -> Any:
    if gate.shape != x.shape or gate.dtype != x.dtype:
        raise ValueError(
            f"SwiGLU: A is {gate.dtype} of shape {gate.shape}, B {x.dtype} of shape {x.shape}; it takes equal ones"
        )
    if alpha == 1:
        return ALL["swiglu"](x, gate)
    y = np.asarray(ALL["silu"](gate, beta=float(alpha)))
    return np.multiply(y, x, out=y)


OPERATORS = [
    _elementwise("Celu", "celu", alpha="alpha"),
    _elementwise("Elu", "elu", alpha="alpha"),
    _operator("Gelu", _gelu),
    _elementwise("HardSigmoid", "hard_sigmoid", slope="alpha", offset="beta"),
    _elementwise("HardSwish", "hard_swish"),
    _rowwise("Hardmax", "hardmax"),
    _elementwise("LeakyRelu", "leaky_relu", negative_slope="alpha"),
    _rowwise("LogSoftmax", "log_softmax"),
    _elementwise("Mish", "mish"),
    _operator("PRelu", _prelu),
    _elementwise("Relu", "relu"),
    _operator("Selu", _selu),
    _operator("Shrink", _shrink),
    _elementwise("Sigmoid", "sigmoid"),
    _rowwise("Softmax", "softmax"),
    _elementwise("Softplus", "softplus"),
    _elementwise("Softsign", "softsign"),
    _operator("SwiGLU", _swiglu),
    _elementwise("Swish", "silu", beta="alpha"),
    _elementwise("Tanh", "tanh"),
    _elementwise("ThresholdedRelu", "thresholded_relu", threshold="alpha"),
]
