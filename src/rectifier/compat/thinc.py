"""Thinc's operations with the activation functions of this library behind them.

>>> from thinc.api import Gelu, use_ops
>>> import rectifier.compat.thinc
>>> with use_ops("rectifier"):
...     model = Gelu(2, 3).initialize()
>>> model.ops.name
'rectifier'

Models that are made while these operations are in use compute with them: one fused pass per call, on all cores, and
NaN, infinities and float16 as this library has them. ``inplace=True`` writes over the argument that Thinc writes over,
in every method that has it; Thinc's own ``softmax`` does not.

What stays Thinc's: `dsigmoid`, `dtanh` and `backprop_sigmoid`, which know nothing but the output, from which a sigmoid
has no derivative near 1; softmax over sequences; `mish` with another threshold than the default, which is past where
mish is x; and all that is no activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..catalogue import ALL
from ..formulas import T, fma, where
from ..functions.define import INF, NAN, elementwise
from ..functions.missing import named

with named("rectifier.compat.thinc", "thinc", "thinc"):
    from thinc.api import NumpyOps, registry

__all__ = ["RectifierOps"]

_MISH_THRESHOLD = 20.0


@elementwise(
    exact=lambda m, x, slope, offset, low, high: m.where(
        slope * x + offset > low, m.where(slope * x + offset < high, slope * x + offset, high), low
    ),
    special=((NAN, NAN), (INF, 1.0), (-INF, 0.0), (-0.0, 0.0)),
    kinks=((0.0, 0.0), (1.0, 0.0)),
    ulp=(1, 1, 0.5, 0.5),
)
def clipped_linear(
    x: Any, slope: float = 1.0, offset: float = 0.0, min_value: float = 0.0, max_value: float = 1.0
) -> Any:
    """Clipped linear function: slope * x + offset, at least `min_value` and at most `max_value`.

    References
    ----------
    Thinc, https://thinc.ai/docs/api-layers#clippedlinear.
    """
    y = fma(slope, x, offset)
    return where(y <= min_value, min_value, where(y >= max_value, max_value, y))


@clipped_linear.derivative
def clipped_linear_derivative(x: Any, slope: Any, offset: Any, min_value: Any, max_value: Any) -> Any:
    y = fma(slope, x, offset)
    return where((y <= min_value) | (y >= max_value), T(0), where(y == y, slope, y))


@elementwise(
    exact=lambda m, x: m.where(2 * x > -5, m.where(2 * x < 5, x * (2 * x + 5) / 10, x), 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0)),
    kinks=((-2.5, 0.0), (2.5, 1.0)),
    zeros=(-1.25,),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def hard_swish(x: Any) -> Any:
    """Hard swish of Thinc: x times its hard sigmoid of slope 0.2, and not 1/6.

    References
    ----------
    R. Avenash and P. Viswanath, "Semantic segmentation of satellite images using a modified CNN with hard-swish
    activation function", VISIGRAPP 2019.
    """
    return where(x <= T(-2.5), T(0), where(x >= T(2.5), x, x * (x + T(2.5)) / T(5)))


@hard_swish.derivative
def hard_swish_derivative(x: Any) -> Any:
    return where(x <= T(-2.5), T(0), where(x >= T(2.5), T(1), (x + x + T(2.5)) / T(5)))


def _apply(function: Any, X: Any, inplace: bool, **parameters: float) -> Any:
    return function(X, X if inplace else None, **parameters)


def _backward(name: str, function: Any, dY: Any, X: Any, inplace: bool, **parameters: float) -> Any:
    _require_one_shape(name, dY=dY, X=X)
    return function.backward(dY, X, dY if inplace else None, **parameters)


def _require_one_shape(name: str, **arrays: Any) -> None:
    shapes = {argument: np.shape(array) for argument, array in arrays.items()}
    if len({*shapes.values()}) > 1:
        raise ValueError(f"{name}: {', '.join(f'{key} has shape {shape}' for key, shape in shapes.items())}")


@registry.ops("RectifierOps")
class RectifierOps(NumpyOps):  # type: ignore[misc]
    """Operations of Thinc on NumPy arrays, whose activation methods are this library's.

    ``thinc.api.use_ops("rectifier")`` takes them. Signatures are Thinc's; gradients refuse arrays of two shapes.
    """

    name = "rectifier"

    def sigmoid(self, X: Any, *, inplace: bool = False) -> Any:
        """Compute the logistic sigmoid, of all numbers and not of those within 20."""
        return _apply(ALL["sigmoid"], X, inplace)

    def softmax(self, x: Any, *, inplace: bool = False, axis: int = -1, temperature: float = 1.0) -> Any:
        """Compute the softmax of x / temperature along an axis."""
        return ALL["softmax"](x, x if inplace else None, axis=axis, scale=1 / temperature)

    def backprop_softmax(self, Y: Any, dY: Any, *, axis: int = -1, temperature: float = 1.0) -> Any:
        """Compute the gradient of a softmax from its output."""
        _require_one_shape("backprop_softmax", Y=Y, dY=dY)
        return ALL["softmax"].backward(dY, y=Y, axis=axis, scale=1 / temperature)

    def relu(self, X: Any, inplace: bool = False) -> Any:
        """Compute the ReLU."""
        return _apply(ALL["relu"], X, inplace)

    def backprop_relu(self, dY: Any, Y: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a ReLU from its output."""
        _require_one_shape("backprop_relu", dY=dY, Y=Y)
        return ALL["relu"].backward(dY, y=Y, out=dY if inplace else None)

    def clipped_linear(
        self, X: Any, slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """Compute slope * X + offset, at least `min_val` and at most `max_val`."""
        limits = {"min_value": min_val, "max_value": max_val}
        return _apply(clipped_linear, X, inplace, slope=slope, offset=offset, **limits)

    def backprop_clipped_linear(
        self, dY: Any, X: Any, slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """Compute the gradient of a clipped linear function; slopes below 0 have theirs, too."""
        limits = {"min_value": min_val, "max_value": max_val}
        return _backward(
            "backprop_clipped_linear", clipped_linear, dY, X, inplace, slope=slope, offset=offset, **limits
        )

    def relu_k(self, X: Any, n: float = 6.0, inplace: bool = False) -> Any:
        """Compute the ReLU, at most `n`."""
        return _apply(ALL["hard_tanh"], X, inplace, min_value=0.0, max_value=n)

    def backprop_relu_k(self, dY: Any, X: Any, n: float = 6.0, inplace: bool = False) -> Any:
        """Compute the gradient of a ReLU of at most `n`."""
        return _backward("backprop_relu_k", ALL["hard_tanh"], dY, X, inplace, min_value=0.0, max_value=n)

    def hard_sigmoid(self, X: Any, inplace: bool = False) -> Any:
        """Compute the hard sigmoid of slope 0.2."""
        return _apply(ALL["hard_sigmoid"], X, inplace, slope=0.2)

    def backprop_hard_sigmoid(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a hard sigmoid of slope 0.2."""
        return _backward("backprop_hard_sigmoid", ALL["hard_sigmoid"], dY, X, inplace, slope=0.2)

    def hard_tanh(self, X: Any, inplace: bool = False) -> Any:
        """Compute X, at least -1 and at most 1."""
        return _apply(ALL["hard_tanh"], X, inplace)

    def backprop_hard_tanh(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a hard tanh."""
        return _backward("backprop_hard_tanh", ALL["hard_tanh"], dY, X, inplace)

    def swish(self, X: Any, inplace: bool = False) -> Any:
        """Compute X * sigmoid(X)."""
        return _apply(ALL["silu"], X, inplace)

    def backprop_swish(self, dY: Any, X: Any, Y: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a swish from its input."""
        _require_one_shape("backprop_swish", dY=dY, X=X, Y=Y)
        return _backward("backprop_swish", ALL["silu"], dY, X, inplace)

    def hard_swish(self, X: Any, inplace: bool = False) -> Any:
        """Compute X times its hard sigmoid of slope 0.2."""
        return _apply(hard_swish, X, inplace)

    def backprop_hard_swish(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a hard swish of slope 0.2."""
        return _backward("backprop_hard_swish", hard_swish, dY, X, inplace)

    def hard_swish_mobilenet(self, X: Any, inplace: bool = False) -> Any:
        """Compute the hard swish of slope 1/6, which elsewhere is the hard swish."""
        return _apply(ALL["hard_swish"], X, inplace)

    def backprop_hard_swish_mobilenet(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of a hard swish of slope 1/6."""
        return _backward("backprop_hard_swish_mobilenet", ALL["hard_swish"], dY, X, inplace)

    def dish(self, X: Any, inplace: bool = False) -> Any:
        """Compute the dish."""
        return _apply(ALL["dish"], X, inplace)

    def backprop_dish(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of the dish."""
        return _backward("backprop_dish", ALL["dish"], dY, X, inplace)

    def gelu_approx(self, X: Any, inplace: bool = False) -> Any:
        """Compute the GELU by a tanh."""
        return _apply(ALL["gelu_tanh"], X, inplace)

    def backprop_gelu_approx(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of the GELU by a tanh."""
        return _backward("backprop_gelu_approx", ALL["gelu_tanh"], dY, X, inplace)

    def gelu(self, X: Any, inplace: bool = False) -> Any:
        """Compute the GELU."""
        return _apply(ALL["gelu"], X, inplace)

    def backprop_gelu(self, dY: Any, X: Any, inplace: bool = False) -> Any:
        """Compute the gradient of the GELU."""
        return _backward("backprop_gelu", ALL["gelu"], dY, X, inplace)

    def mish(self, X: Any, threshold: float = _MISH_THRESHOLD, inplace: bool = False) -> Any:
        """Compute the mish."""
        if threshold != _MISH_THRESHOLD:
            return super().mish(X, threshold, inplace)
        return _apply(ALL["mish"], X, inplace)

    def backprop_mish(self, dY: Any, X: Any, threshold: float = _MISH_THRESHOLD, inplace: bool = False) -> Any:
        """Compute the gradient of the mish."""
        if threshold != _MISH_THRESHOLD:
            return super().backprop_mish(dY, X, threshold, inplace)
        return _backward("backprop_mish", ALL["mish"], dY, X, inplace)
