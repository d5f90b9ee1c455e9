"""The ReLU and its family for arrays: NumPy on the CPU, faster than every peer, right to the last bit."""

from ._activation import Activation, elementwise
from ._mask import Mask
from .catalogue import piecewise
from .catalogue.piecewise import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Activation", "Mask", "elementwise"]
__all__ += piecewise.__all__
