"""Other libraries' names of the functions of the catalogue, and their arrays.

Each table maps a name of the catalogue to what computes it elsewhere, at our default parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Offer(NamedTuple):
    """A function of another library.

    Attributes
    ----------
    name : str
        Where it is, from the library's root or from a namespace of it that the table names.
    keywords : mapping
        Its arguments besides x.
    gradient : callable or None
        The operator that its autograd calls: of the namespace of operators, dy, x and y.
    """

    name: str
    keywords: Mapping[str, Any] = MappingProxyType({})
    gradient: Callable[[Any, Any, Any, Any], Any] | None = None

    def function(self, root: Any) -> Callable[..., Any]:
        """Return the function of x alone."""
        found: Callable[..., Any] = attrgetter(self.name)(root)
        return partial(found, **self.keywords) if self.keywords else found


_F = "nn.functional."
_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772  # of selu
TORCH = {  # from `torch`; the operators are those of `torch.ops.aten`
    "relu": Offer("relu"),
    "leaky_relu": Offer(_F + "leaky_relu"),
    "relu6": Offer(_F + "relu6", {}, lambda aten, dy, x, y: aten.hardtanh_backward(dy, x, 0, 6)),
    "thresholded_relu": Offer(
        _F + "threshold", {"threshold": 1, "value": 0}, lambda aten, dy, x, y: aten.threshold_backward(dy, x, 1)
    ),
    "threshold": Offer(
        _F + "threshold", {"threshold": 1, "value": -0.5}, lambda aten, dy, x, y: aten.threshold_backward(dy, x, 1)
    ),
    "hard_tanh": Offer(_F + "hardtanh", {}, lambda aten, dy, x, y: aten.hardtanh_backward(dy, x, -1, 1)),
    "hard_sigmoid": Offer(_F + "hardsigmoid", {}, lambda aten, dy, x, y: aten.hardsigmoid_backward(dy, x)),
    "hard_swish": Offer(_F + "hardswish", {}, lambda aten, dy, x, y: aten.hardswish_backward(dy, x)),
    "hard_shrink": Offer(_F + "hardshrink", {}, lambda aten, dy, x, y: aten.hardshrink_backward(dy, x, 0.5)),
    "soft_shrink": Offer(_F + "softshrink", {}, lambda aten, dy, x, y: aten.softshrink_backward(dy, x, 0.5)),
    "sigmoid": Offer("sigmoid", {}, lambda aten, dy, x, y: aten.sigmoid_backward(dy, y)),
    "log_sigmoid": Offer(_F + "logsigmoid"),
    "tanh": Offer("tanh", {}, lambda aten, dy, x, y: aten.tanh_backward(dy, y)),
    "tanh_shrink": Offer(_F + "tanhshrink"),
    "softsign": Offer(_F + "softsign"),
    "silu": Offer(_F + "silu", {}, lambda aten, dy, x, y: aten.silu_backward(dy, x)),
    "gelu": Offer(_F + "gelu", {}, lambda aten, dy, x, y: aten.gelu_backward(dy, x)),
    "gelu_tanh": Offer(
        _F + "gelu", {"approximate": "tanh"}, lambda aten, dy, x, y: aten.gelu_backward(dy, x, approximate="tanh")
    ),
    "mish": Offer(_F + "mish", {}, lambda aten, dy, x, y: aten.mish_backward(dy, x)),
    "softplus": Offer(_F + "softplus", {}, lambda aten, dy, x, y: aten.softplus_backward(dy, x, 1, 20)),
    "elu": Offer(_F + "elu", {}, lambda aten, dy, x, y: aten.elu_backward(dy, 1, 1, 1, False, x)),
    "selu": Offer(_F + "selu", {}, lambda aten, dy, x, y: aten.elu_backward(dy, _ALPHA, _SCALE, 1, False, x)),
    "exponential": Offer("exp"),
    "celu": Offer(_F + "celu", {}, lambda aten, dy, x, y: aten.elu_backward(dy, 1, 1, 1, False, x)),
    "softmax": Offer("softmax", {"dim": -1}, lambda aten, dy, x, y: aten._softmax_backward_data(dy, y, -1, x.dtype)),
    "softmin": Offer(
        _F + "softmin", {"dim": -1}, lambda aten, dy, x, y: -aten._softmax_backward_data(dy, y, -1, x.dtype)
    ),
    "log_softmax": Offer(
        "log_softmax", {"dim": -1}, lambda aten, dy, x, y: aten._log_softmax_backward_data(dy, y, -1, x.dtype)
    ),
}
JAX = {  # from `jax.nn`
    **{
        name: Offer(name)
        for name in (
            "relu", "leaky_relu", "relu6", "hard_tanh", "hard_sigmoid", "hard_swish", "sigmoid", "log_sigmoid", "tanh",
            "silu", "mish", "elu", "selu", "celu", "softplus", "squareplus", "softmax", "log_softmax",
        )
    },
    "softsign": Offer("soft_sign"),
    "sparse_plus": Offer("sparse_plus"),
    "gelu": Offer("gelu", {"approximate": False}),
    "gelu_tanh": Offer("gelu", {"approximate": True}),
}  # fmt: skip
TENSORFLOW = {  # from `tensorflow`; the operators are those of `tensorflow.raw_ops`
    "relu": Offer("nn.relu", {}, lambda ops, dy, x, y: ops.ReluGrad(gradients=dy, features=x)),
    "leaky_relu": Offer(
        "nn.leaky_relu", {"alpha": 0.01}, lambda ops, dy, x, y: ops.LeakyReluGrad(gradients=dy, features=x, alpha=0.01)
    ),
    "relu6": Offer("nn.relu6", {}, lambda ops, dy, x, y: ops.Relu6Grad(gradients=dy, features=x)),
    "sigmoid": Offer("sigmoid", {}, lambda ops, dy, x, y: ops.SigmoidGrad(y=y, dy=dy)),
    "tanh": Offer("tanh", {}, lambda ops, dy, x, y: ops.TanhGrad(y=y, dy=dy)),
    "softplus": Offer("nn.softplus", {}, lambda ops, dy, x, y: ops.SoftplusGrad(gradients=dy, features=x)),
    "softsign": Offer("nn.softsign", {}, lambda ops, dy, x, y: ops.SoftsignGrad(gradients=dy, features=x)),
    "elu": Offer("nn.elu", {}, lambda ops, dy, x, y: ops.EluGrad(gradients=dy, outputs=y)),
    "selu": Offer("nn.selu", {}, lambda ops, dy, x, y: ops.SeluGrad(gradients=dy, outputs=y)),
    "gelu": Offer("nn.gelu", {"approximate": False}),
    "gelu_tanh": Offer("nn.gelu", {"approximate": True}),
    "silu": Offer("nn.silu"),
    "log_sigmoid": Offer("math.log_sigmoid"),
    # Its autograd has no operator for these, but calls several.
    "softmax": Offer(
        "nn.softmax",
        {},
        lambda ops, dy, x, y: ops.Mul(
            x=y, y=ops.Sub(x=dy, y=ops.Sum(input=ops.Mul(x=dy, y=y), axis=-1, keep_dims=True))
        ),
    ),
    "log_softmax": Offer(
        "nn.log_softmax",
        {},
        lambda ops, dy, x, y: ops.Sub(x=dy, y=ops.Mul(x=ops.Sum(input=dy, axis=-1, keep_dims=True), y=ops.Exp(x=y))),
    ),
}
SCIPY: dict[str, Callable[[Any, Any], Any]] = {  # of `scipy.special` and x
    "sigmoid": lambda special, x: special.expit(x),
    "log_sigmoid": lambda special, x: special.log_expit(x),
    "silu": lambda special, x: x * special.expit(x),
    "gelu": lambda special, x: x * special.ndtr(x),
    "laplace": lambda special, x: special.ndtr((x - 0.5**0.5) * (4 * np.pi) ** 0.5),
    "softplus": lambda special, x: -special.log_expit(-x),
    "softmax": lambda special, x: special.softmax(x, axis=-1),
    "softmin": lambda special, x: special.softmax(-x, axis=-1),
    "log_softmax": lambda special, x: special.log_softmax(x, axis=-1),
}
NUMPY: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),  # faster than by SciPy
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "snake": lambda x: x + np.sin(x) ** 2,
    "sqrt_softplus": lambda x: np.sqrt(np.logaddexp(0, x)),
    "xielu": lambda x: np.where(x > 0, 0.8 * x * x + 0.5 * x, 0.8 * (np.expm1(np.minimum(x, -1e-6)) - x) + 0.5 * x),
    "dish": lambda x: x / 2 * (1 + x / np.sqrt(1 + x * x)),
    "hard_mish": lambda x: x / 2 * np.clip(x + 2, 0, 2),
    "sparse_plus": lambda x: np.where(x < 1, np.square(np.maximum(x + 1, 0)) / 4, x),
    "shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
}
NUMPY_BACKWARD: dict[str, Callable[[Any, Any], Any]] = {  # of dy and y
    "softmax": lambda dy, y: y * (dy - (dy * y).sum(-1, keepdims=True)),
    "softmin": lambda dy, y: y * ((dy * y).sum(-1, keepdims=True) - dy),
    "log_softmax": lambda dy, y: dy - np.exp(y) * dy.sum(-1, keepdims=True),
}


def to_torch(x: Any) -> Any:
    """Return an array of NumPy or CuPy as a tensor that shares its memory."""
    from ..backends.array_api.torch import LIBRARY

    if isinstance(x, np.ndarray):
        return LIBRARY.from_numpy(x)
    import torch

    if x.dtype.name == "bfloat16":  # DLPack of CuPy does not know ml_dtypes' type
        return torch.from_dlpack(x.view(np.uint16)).view(torch.bfloat16)
    return torch.from_dlpack(x)


def from_torch(tensor: Any) -> Any:
    """Return a tensor as an array of NumPy."""
    from ..backends.array_api.torch import LIBRARY

    return LIBRARY.to_numpy(tensor.cpu())
