"""Drop-ins for the activation functions of ``crysx_nn``, under its names.

They take what the originals take, a batch of shape (samples, nodes), and any other shape besides.

>>> from rectifier import crysx
>>> crysx.ReLU_grad([[-1.0, 2.0]])
array([[0., 1.]])

``crysx_nn`` looks its functions up in two dictionaries, which hold references: replacing the functions in
its ``activation`` module changes nothing. Replace the entries::

    import crysx_nn.utils
    from rectifier import crysx

    for name in crysx_nn.utils.act_func_dict:
        crysx_nn.utils.act_func_dict[name] = getattr(crysx, name)
        crysx_nn.utils.act_func_grad_dict[name] = getattr(crysx, name + "_grad")

The names that end in ``_cupy`` are the same functions, since the type of `x` says where it lies. Their entries are in
``act_func_dict_cupy`` and ``act_func_grad_dict_cupy``.

What changes: results have the dtype of x, and are right to the last bit where the originals lose digits (``Tanh_grad``
is 1 - tanh^2 there, 0 from x = 9 on in float32) or overflow (``Sigmoid_grad`` of -100 is NaN). -inf gives 0 in ``ReLU``
where ``x * (x > 0)`` gave NaN, negative numbers give 0 where it gave -0.0. NaN and infinities are defined (the
originals are compiled with ``fastmath``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .catalogue import ALL

__all__ = ["Identity", "ReLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "Tanh_offset"]
__all__ += [f"{name}_grad" for name in __all__]
__all__ += [f"{name}_cupy" for name in __all__]

_DOCUMENTATION = """{summary}

Parameters
----------
x : array of shape (N, k)
    N samples of k nodes; any other shape and any real dtype do as well.

Returns
-------
array of shape (N, k)
    In the dtype of `x`.
"""


def _drop_in(name: str, summary: str, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return compute(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOCUMENTATION.format(summary=summary)
    return function


ReLU = _drop_in("ReLU", "Apply the rectified linear unit.", lambda x: ALL["relu"](x))
ReLU_grad = _drop_in(
    "ReLU_grad",
    "Give the derivative of the rectified linear unit: 1 where `x` is positive, 0 elsewhere.",
    lambda x: ALL["relu"].derivative(x),
)
Sigmoid = _drop_in("Sigmoid", "Apply the logistic sigmoid.", lambda x: ALL["sigmoid"](x))
Sigmoid_grad = _drop_in(
    "Sigmoid_grad", "Give the derivative of the logistic sigmoid.", lambda x: ALL["sigmoid"].derivative(x)
)
Tanh = _drop_in("Tanh", "Apply the hyperbolic tangent.", lambda x: ALL["tanh"](x))
Tanh_grad = _drop_in("Tanh_grad", "Give the derivative of the hyperbolic tangent.", lambda x: ALL["tanh"].derivative(x))


def _doubled(x: Any) -> Any:
    with np.errstate(all="ignore"):  # twice a large number is infinite
        return np.multiply(x, 2)


Tanh_offset = _drop_in(
    "Tanh_offset", "Compute (1 + tanh(x)) / 2, as the sigmoid of 2 x.", lambda x: ALL["sigmoid"](_doubled(x))
)
Tanh_offset_grad = _drop_in(
    "Tanh_offset_grad",
    "Give the derivative of (1 + tanh(x)) / 2.",
    lambda x: ALL["sigmoid"].derivative(_doubled(x)) * 2,
)
Softplus = _drop_in("Softplus", "Compute log(1 + exp(x)).", lambda x: ALL["softplus"](x))
Softplus_grad = _drop_in(
    "Softplus_grad", "Give the derivative of the softplus: the sigmoid.", lambda x: ALL["softplus"].derivative(x)
)
Identity = _drop_in("Identity", "Return `x` itself.", lambda x: x)
Identity_grad = _drop_in("Identity_grad", "Give ones.", lambda x: np.ones_like(x))
Softmax = _drop_in("Softmax", "Apply the softmax to each sample: along the last axis.", lambda x: ALL["softmax"](x))


def Softmax_grad(x: Any) -> Any:
    """Return the Jacobian of the softmax of each sample.

    ``rectifier.softmax.backward`` gives its product with a gradient without forming it.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; also (..., k).

    Returns
    -------
    array of shape (N, k, k)
        In the dtype of `x`.
    """
    y = ALL["softmax"](x)
    jacobian = -y[..., :, None] * y[..., None, :]
    nodes = y.shape[-1]
    jacobian.reshape(*y.shape[:-1], nodes * nodes)[..., :: nodes + 1] += y  # on the diagonal
    return jacobian


globals().update({f"{name}_cupy": globals()[name] for name in __all__ if not name.endswith("_cupy")})
