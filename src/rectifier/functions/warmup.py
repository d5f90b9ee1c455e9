"""Compilation of all that calls of a function need, ahead of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..catalogue import ALL, LOSSES
from ..engine.ufuncs import register_bfloat16
from .dtypes import WORKING, floating, named
from .specification import Specification


def warmup(*functions: Any, dtypes: Any = ("float32",)) -> int:
    """Load or compile all that calls of these functions need, so that none of them has to.

    With a store of machine code that has it, this takes a few milliseconds, else 0.1 to 0.2 s for each function,
    operation and dtype.

    Parameters
    ----------
    *functions : activation functions
        By default all: elementwise, of two arrays, and along an axis.
    dtypes : dtype-like or iterable of dtype-like
        Of the arrays.

    Returns
    -------
    int
        How many operations are ready, over all functions and dtypes.

    Raises
    ------
    TypeError
        If a function is none of this package's, or a dtype is none that it takes.

    Examples
    --------
    >>> from rectifier import relu, warmup
    >>> warmup(relu, dtypes=["float32", "float64"])
    12
    """
    ready = 0
    kinds = _dtypes(dtypes)
    for function in functions or [*ALL.values(), *LOSSES.values()]:
        spec = getattr(function, "spec", None)
        if not isinstance(spec, Specification):
            raise TypeError(f"warmup: {function!r} is no activation function")
        for kind in kinds:
            dtype = kind if kind.name in spec.dtypes else floating(kind)
            ready += sum(method.prepare(dtype) for method in function.methods.values())
    return ready


def _dtypes(given: Any) -> list[np.dtype[Any]]:
    """Return dtypes by one or several of their names, and know bfloat16."""
    kinds = []
    for name in [given] if isinstance(given, str | type | np.dtype) or not np.iterable(given) else given:
        try:
            dtype = named(name) if isinstance(name, str) else np.dtype(name)
        except TypeError:
            dtype = None
        if name is None or dtype is None or dtype.name not in WORKING:  # of None NumPy makes float64
            raise TypeError(f"warmup: dtypes has {name!r}; it takes integers, float16 to float64, and bfloat16")
        kinds.append(dtype)
    register_bfloat16()
    return kinds
