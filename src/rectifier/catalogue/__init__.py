"""The place to add a function: one block each, in the file of its kind."""

from __future__ import annotations

from .._activation import Activation
from . import piecewise

CATALOGUE: dict[str, Activation] = {name: getattr(module, name) for module in (piecewise,) for name in module.__all__}
