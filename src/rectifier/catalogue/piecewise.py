"""Rectifiers: pieces of straight lines."""

from __future__ import annotations

from .._activation import INF, NAN, elementwise
from ..words import T, where

__all__ = ["leaky_relu", "relu"]


@elementwise(
    exact=lambda m, x: m.where(x > 0, x, 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, 0.0)),
    # Any value in [0, 1] is a subgradient; 0 trains best (Bertoin et al. 2021, arXiv 2106.12915).
    kinks=((0.0, 0.0),),
    ulp=0,
    backward_from=("x", "y", "mask"),
    selects=True,
)
def relu(x):
    """Rectified linear unit: x where x is positive, 0 elsewhere.

    References
    ----------
    V. Nair and G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
    """
    return where(x <= T(0), T(0), x)


@relu.derivative
def relu_derivative(x):
    return where(x <= T(0), T(0), where(x == x, T(1), x))


@elementwise(
    exact=lambda m, x, negative_slope: m.where(x > 0, x, negative_slope * x),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, -0.0)),
    kinks=((0.0, 0.01),),
    ulp=0,
    backward_from=("x", "y", "mask"),
    y_determines=lambda negative_slope: negative_slope >= T(0),
    mask=lambda x, negative_slope: (x <= T(0), negative_slope, T(1)),
)
def leaky_relu(x, negative_slope=0.01):
    """Leaky rectified linear unit: x where x is positive, negative_slope * x elsewhere.

    With an array of slopes it is the parametric ReLU (PReLU). The default slope is that of PyTorch and
    JAX; Keras and TensorFlow take 0.2.

    References
    ----------
    A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013.
    """
    # A slope of 0 is the ReLU, and 0 * -inf would be NaN.
    return where(x <= T(0), where(negative_slope == T(0), T(0), negative_slope * x), x)


@leaky_relu.derivative
def leaky_relu_derivative(x, negative_slope):
    return where(x <= T(0), negative_slope, where(x == x, T(1), x))
