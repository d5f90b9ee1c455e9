"""The ReLU and its family for NumPy arrays: value, derivative and backward, each in one pass."""

from ._activation import Activation, elementwise
from ._mask import Mask
from .catalogue import piecewise
from .catalogue.piecewise import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Activation", "Mask", "elementwise", "memory", "settings", "warmup"]  # noqa: F405  (`__getattr__` has the last)
__all__ += piecewise.__all__


def __getattr__(name: str) -> object:
    """Import what few need when it is asked for."""
    from importlib import import_module

    if name == "memory":
        return import_module(".memory", __name__)
    if name in ("settings", "warmup"):
        return getattr(import_module("._settings", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
