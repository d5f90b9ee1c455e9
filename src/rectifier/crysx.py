"""Drop-ins for the activation functions of ``crysx_nn``, under its names.

They take what the originals take, a batch of shape (samples, nodes), and any other shape besides.

>>> from rectifier import crysx
>>> crysx.ReLU_grad([[-1.0, 2.0]])
array([[0., 1.]])

``crysx_nn`` looks its functions up in two dictionaries, which hold references: replacing the functions in
its ``activation`` module changes nothing. Replace the entries::

    import crysx_nn.utils
    from rectifier import crysx

    crysx_nn.utils.act_func_dict.update(ReLU=crysx.ReLU)
    crysx_nn.utils.act_func_grad_dict.update(ReLU=crysx.ReLU_grad)

What changes: -inf gives 0 where ``x * (x > 0)`` gave NaN, negative numbers give 0 where it gave -0.0, and
NaN and infinities are defined (the originals are compiled with ``fastmath``). The gradient has the dtype
of x.
"""

from __future__ import annotations

from typing import Any

from .catalogue.piecewise import relu

__all__ = ["ReLU", "ReLU_grad"]


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
    return relu(x)


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
    return relu.derivative(x)
