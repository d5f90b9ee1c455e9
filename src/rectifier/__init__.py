"""The ReLU and its family for NumPy arrays: value, derivative and backward, each in one pass."""

from ._activation import Activation, elementwise
from ._mask import Mask
from .catalogue import piecewise
from .catalogue.piecewise import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Activation", "Mask", "elementwise"]
__all__ += piecewise.__all__
