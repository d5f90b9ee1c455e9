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

What changes: results have the dtype of x, and are right to the last bit where the originals lose digits (``Tanh_grad``
is 1 - tanh^2 there, 0 from x = 9 on in float32) or overflow (``Sigmoid_grad`` of -100 is NaN). -inf gives 0 in ``ReLU``
where ``x * (x > 0)`` gave NaN, negative numbers give 0 where it gave -0.0. NaN and infinities are defined (the
originals are compiled with ``fastmath``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .catalogue import ALL

__all__ = ["Identity", "ReLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "Tanh_offset"]
__all__ += [f"{name}_grad" for name in __all__]


def ReLU(x: Any) -> Any:
    """Apply the rectified linear unit.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["relu"](x)


def ReLU_grad(x: Any) -> Any:
    """Give the derivative of the rectified linear unit: 1 where `x` is positive, 0 elsewhere.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["relu"].derivative(x)


def Sigmoid(x: Any) -> Any:
    """Apply the logistic sigmoid.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["sigmoid"](x)


def Sigmoid_grad(x: Any) -> Any:
    """Give the derivative of the logistic sigmoid.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["sigmoid"].derivative(x)


def Tanh(x: Any) -> Any:
    """Apply the hyperbolic tangent.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["tanh"](x)


def Tanh_grad(x: Any) -> Any:
    """Give the derivative of the hyperbolic tangent.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["tanh"].derivative(x)


def Tanh_offset(x: Any) -> Any:
    """Compute (1 + tanh(x)) / 2, as the sigmoid of 2 x.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["sigmoid"](np.multiply(x, 2))


def Tanh_offset_grad(x: Any) -> Any:
    """Give the derivative of (1 + tanh(x)) / 2.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["sigmoid"].derivative(np.multiply(x, 2)) * 2


def Softplus(x: Any) -> Any:
    """Compute log(1 + exp(x)).

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["softplus"](x)


def Softplus_grad(x: Any) -> Any:
    """Give the derivative of the softplus: the sigmoid.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["softplus"].derivative(x)


def Identity(x: Any) -> Any:
    """Return `x` itself.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return x


def Identity_grad(x: Any) -> Any:
    """Give ones.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return np.ones_like(x)


def Softmax(x: Any) -> Any:
    """Apply the softmax to each sample: along the last axis.

    Parameters
    ----------
    x : array of shape (N, k)
        N samples of k nodes; any other shape and any real dtype do as well.

    Returns
    -------
    array of shape (N, k)
        In the dtype of `x`.
    """
    return ALL["softmax"](x)


def Softmax_grad(x: Any) -> Any:
    """Give the Jacobian of the softmax of each sample.

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
    k = np.arange(y.shape[-1])
    jacobian[..., k, k] += y
    return jacobian
